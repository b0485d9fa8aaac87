package chaos

import (
	"testing"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/sim"

	"github.com/stretchr/testify/require"
)

// TestShrink leaves the one flow that fails, with nothing peculiar, and no fault.
func TestShrink(t *testing.T) {
	p := New(5)
	require.NotEmpty(t, p.Faults)
	require.NotEmpty(t, p.Flows)
	p.Nodes = 2
	p.Flows = p.Flows[:1]
	p.Flows[0].From, p.Flows[0].To = 0, 1
	for i := range p.Faults {
		p.Faults[i].A, p.Faults[i].B = i%2, 1-i%2
	}
	lost := p.Flows[0]
	lost.To = maxNodes - 1 // nobody listens there
	p.Flows = append(p.Flows, lost)
	small := Shrink(p)
	require.ErrorContains(t, small.Err, "not open")
	require.Empty(t, small.Plan.Faults)
	lost = Flow{To: maxNodes - 1, Options: lost.Options, Messages: 1, Pause: lost.Pause, Burst: 1}
	lost.Options.Outbox, lost.Options.Window, lost.Options.Resume = 0, 0, 0
	lost.Options.OnRestart, lost.Options.ManualAck = endpoint.Report, false
	require.Equal(t, []Flow{lost}, small.Plan.Flows)
	require.Equal(t, sim.Perturb{}, small.Plan.Config.Perturb)
	require.NotContains(t, small.Plan.String(), "Echo")
	require.Contains(t, small.Plan.String(), "flow From 0, To 4")
	require.NotEmpty(t, p.Faults, "the plan itself is left as it is")
}

// TestPanic: a panic in a program, or in the engine, is a result like another.
func TestPanic(t *testing.T) {
	p := New(5)
	p.Flows = []Flow{{From: 0, To: 1, Messages: 1}} // a pause of zero cannot be drawn
	r := p.Run()
	require.ErrorContains(t, r.Err, "panic")
	require.ErrorContains(t, r.Err, "seed 5")
}
