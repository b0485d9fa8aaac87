package driver_test

import (
	"context"
	"fmt"

	"github.com/lyquor/lyquor/engine/driver"
	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/transport"
	"github.com/lyquor/lyquor/engine/transport/tcp"
	"github.com/lyquor/lyquor/engine/wire"
)

// A server that echoes, and a client, in one process.
func Example() {
	d, err := driver.Open(driver.Options{Transports: []transport.Transport{tcp.New(tcp.Options{})}})
	if err != nil {
		fmt.Println(err)
		return
	}
	echo := func(*driver.Endpoint) driver.Sink {
		return driver.Callback(func(batch []driver.Message) int {
			for i, m := range batch {
				if m.Event != 0 {
					continue
				}
				if _, err := m.Endpoint.Send(m.Lane, m.Channel, m.Data); err == driver.ErrAgain {
					return i // the rest comes again when there is room
				}
			}
			return len(batch)
		}, nil)
	}
	server, err := d.Listen("tcp://127.0.0.1:0", driver.EndpointOptions{}, echo, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	answers := make(chan string, 1)
	client, err := d.Dial(server.Addr(), driver.EndpointOptions{}, func(*driver.Endpoint) driver.Sink {
		return driver.Callback(func(batch []driver.Message) int {
			for _, m := range batch {
				switch m.Event {
				case 0:
					answers <- string(m.Data)
				case endpoint.EventClosed:
					fmt.Println("closed with code", m.Code)
				}
			}
			return len(batch)
		}, nil)
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := client.Send(wire.Normal, 7, []byte("hello")); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(<-answers)
	d.Close(0)
	if err := d.Wait(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// hello
	// closed with code 0
}
