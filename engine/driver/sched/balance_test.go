package sched

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// window is 1000 units here, so that loads are per mille.
const window = 1000

func busy(list ...int64) (loads []Load) {
	for _, b := range list {
		loads = append(loads, Load{Busy: b})
	}
	return loads
}

func shares(list ...int64) (s []Share) {
	for _, l := range busy(list...) {
		s = append(s, Share{Load: l})
	}
	return s
}

// TestBalance: what worker 0 gives away after so many windows with the same loads.
func TestBalance(t *testing.T) {
	stays := shares(300, 300, 300)
	stays[1].Stays = true
	hog := shares(800, 50, 0, 50)
	hog[0].Stuck = 700
	late := shares(800, 50, 0, 50)
	late[0].Stuck, late[3].Stuck = 700, 40
	slow := shares(500, 400)
	slow[0].Stuck, slow[1].Stuck = 500, 400
	for name, c := range map[string]struct {
		windows int
		loads   []Load
		shares  []Share
		which   []int
		to      int
	}{
		"even":                        {9, busy(800, 700), shares(200, 600), nil, 1},
		"nobody is busy":              {9, busy(400, 0), shares(200, 200), nil, 1},
		"not for long":                {2, busy(900, 100), shares(400, 500), nil, 1},
		"the best half":               {3, busy(900, 100), shares(100, 420, 380), []int{1}, 1},
		"the first of equals":         {3, busy(900, 100), shares(300, 300, 300), []int{0}, 1},
		"to the idlest":               {3, busy(900, 500, 100, 300), shares(450, 450), []int{0}, 2},
		"one that would only move it": {9, busy(900, 100), shares(900), nil, 1},
		"one, and what nobody did":    {9, busy(900, 100), shares(700), nil, 1},
		"no gain worth it":            {9, busy(900, 600), shares(50, 850), nil, 1},
		"this one is the idler":       {9, busy(500, 900), shares(250, 250), nil, 1},
		"placed by number":            {3, busy(900, 0), stays, []int{0}, 1},
		"held up":                     {2, []Load{{900, 700}, {850, 0}}, hog, []int{1, 3}, 1},
		"held up by the system too":   {2, []Load{{900, 740}, {850, 0}}, late, []int{1, 3}, 1},
		"held up once":                {1, []Load{{900, 700}, {100, 0}}, hog, nil, 1},
		"held up everywhere":          {9, []Load{{900, 700}, {900, 700}}, hog, nil, -1},
		"slow ones to where it is so": {3, []Load{{900, 900}, {100, 100}}, slow, []int{1}, 1},
		"not to where it is held up":  {3, []Load{{900, 0}, {100, 90}, {400, 0}}, shares(300, 300, 300), []int{0}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var b Balance
			measured := false
			for range c.windows {
				measured = b.Window(0, window, c.loads)
			}
			which, to := b.Choose(0, window, c.loads, c.shares)
			require.Equal(t, c.which, which)
			if which != nil {
				require.Equal(t, c.to, to)
				require.True(t, measured, "its shares are known")
				again, _ := b.Choose(0, window, c.loads, c.shares)
				require.Empty(t, again, "it waits to see what that did")
			}
		})
	}
}

// TestBalanceForgets: windows that are not uneven begin the count anew, and the shares are
// measured in the window before the decision.
func TestBalanceForgets(t *testing.T) {
	var b Balance
	loads := busy(900, 100)
	require.False(t, b.Window(0, window, loads))
	require.True(t, b.Window(0, window, loads))
	require.False(t, b.Window(0, window, busy(500, 500)))
	b.Window(0, window, loads)
	b.Window(0, window, loads)
	which, _ := b.Choose(0, window, loads, shares(450, 450))
	require.Empty(t, which)
	b.Window(0, window, loads)
	which, _ = b.Choose(0, window, loads, shares(450, 450))
	require.NotEmpty(t, which)
}

// TestBalanceSettles: workers that each balance by these rules come to rest, and the busiest
// ends up clearly less busy.
func TestBalanceSettles(t *testing.T) {
	tasks := []int64{300, 250, 200, 150, 90, 10} // all on worker 0 of 3
	at := make([]int, len(tasks))
	var balances [3]Balance
	moves, last := 0, 0
	for round := range 100 {
		for own := range balances {
			loads := make([]Load, 3)
			for i, b := range tasks {
				loads[at[i]].Busy += b
			}
			var mine []int
			var s []Share
			for i, b := range tasks {
				if at[i] == own {
					mine, s = append(mine, i), append(s, Share{Load: Load{Busy: b}})
				}
			}
			balances[own].Window(own, window, loads)
			which, to := balances[own].Choose(own, window, loads, s)
			for _, k := range which {
				at[mine[k]] = to
				moves, last = moves+1, round
			}
		}
	}
	require.LessOrEqual(t, moves, 5)
	require.Less(t, last, 50)
	loads := make([]int64, 3)
	for i, b := range tasks {
		loads[at[i]] += b
	}
	for _, l := range loads {
		require.LessOrEqual(t, l, int64(500), "%v", loads)
	}
}
