package main

import (
	"context"
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/driver"
	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/inbox"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/transport"

	"github.com/stretchr/testify/require"
)

const patience = 30 * time.Second

// eventually waits for a condition of which nobody tells.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(end), "waited in vain: %s", what)
	}
}

// open starts a driver, which is closed with the test, and an endpoint without
// receiver whose peer says nothing.
func open(t *testing.T) (*driver.Driver, *driver.Endpoint) {
	t.Helper()
	require.NoError(t, start())
	d, err := driver.Open(driver.Options{Transports: []transport.Transport{library.mem}})
	require.NoError(t, err)
	t.Cleanup(func() {
		d.Close(0)
		wait(t, d)
	})
	ignore := func(transport.Link) {}
	l, err := library.mem.Listen(t.Context(), "mem://"+t.Name(), ignore, func(error) {})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	o := driver.EndpointOptions{Ended: ended, Connect: time.Hour}
	e, err := d.Dial(l.Addr(), o, func(*driver.Endpoint) driver.Sink { return nil })
	require.NoError(t, err)
	return d, e
}

func wait(t *testing.T, d *driver.Driver) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, d.Wait(ctx))
}

// exhaust takes every parcel, and returns what gives them back.
func exhaust() (restore func()) {
	var all []inbox.Seat
	for {
		seat, err := library.office.Reserve()
		if err != nil {
			return func() {
				for _, seat := range all {
					library.office.Forgo(seat)
				}
			}
		}
		all = append(all, seat)
	}
}

// TestBindRefused: a lyq_inbox_bind that fails leaves the endpoint without receiver,
// and no parcel in use.
func TestBindRefused(t *testing.T) {
	d, e := open(t)
	closed, err := openInbox(d)
	require.NoError(t, err)
	in, err := openInbox(d)
	require.NoError(t, err)
	closed.guest.Close()
	eventually(t, "the inbox is closed", closed.closed.Load)
	require.ErrorContains(t, closed.bind(e), "the inbox is closed")

	restore := exhaust()
	err = in.bind(e)
	restore()
	var coded *driver.Error
	require.ErrorAs(t, err, &coded)
	require.Equal(t, endpoint.NoMemory, coded.Code)

	before := library.office.Parcels()
	require.NoError(t, in.bind(e), "the endpoint is free")
	require.Equal(t, before+2, library.office.Parcels())
	require.Equal(t, driver.ErrReceiver, in.bind(e))
	require.Equal(t, before+2, library.office.Parcels())
}

// TestParcelsComeBack: all that an inbox and its endpoints had comes back with the
// last of them.
func TestParcelsComeBack(t *testing.T) {
	require.NoError(t, start())
	eventually(t, "no parcel is in use", func() bool { return library.office.Parcels() == 0 })
	d, e := open(t)
	in, err := openInbox(d)
	require.NoError(t, err)
	require.NoError(t, in.bind(e))
	require.Equal(t, 4, library.office.Parcels(), "a seat for the endpoint, and one for timers")
	d.Close(0)
	wait(t, d)
	require.Equal(t, driver.ErrClosed, e.Receive(func() driver.Sink { t.Error("called"); return nil }))
	require.Error(t, in.bind(e))
	eventually(t, "no parcel is in use", func() bool { return library.office.Parcels() == 0 })
}

// TestDialTooLate: a driver that closes while an endpoint with an inbox is opened takes
// the endpoint out of the inbox, which otherwise would never end.
func TestDialTooLate(t *testing.T) {
	require.NoError(t, start())
	eventually(t, "no parcel is in use", func() bool { return library.office.Parcels() == 0 })
	d, _ := open(t)
	in, err := openInbox(d)
	require.NoError(t, err)
	p := &plan{inbox: in}
	var handle outbox.Handle
	_, err = d.Dial("mem://"+t.Name(), driver.EndpointOptions{Ended: ended}, func(e *driver.Endpoint) driver.Sink {
		handle = e.Handle()
		s := p.sink(e)
		require.IsType(t, &pullSink{}, s)
		d.Close(0)
		wait(t, d)
		return s
	})
	require.Equal(t, driver.ErrClosed, err)
	eventually(t, "no parcel is in use", func() bool { return library.office.Parcels() == 0 })
	require.Nil(t, library.objects.get(handle))
	in.mu.Lock()
	defer in.mu.Unlock()
	require.Zero(t, in.users)
}
