package main

import (
	"encoding/json"
	"sync/atomic"
)

// counts is what the relay did. Faults are counted by the connections that they hit.
type counts struct {
	connections, refused    atomic.Int64 // refused: accepted, but nobody listened behind
	cuts, stalls, halfOpens atomic.Int64 // stalls: of the relay as a whole
	bytes                   [2]atomic.Int64
}

// line renders the counts as JSON.
func (c *counts) line() ([]byte, error) {
	return json.Marshal(struct {
		Connections int64 `json:"connections"`
		Refused     int64 `json:"refused"`
		Cuts        int64 `json:"cuts"`
		Stalls      int64 `json:"stalls"`
		HalfOpens   int64 `json:"half_opens"`
		BytesUp     int64 `json:"bytes_up"`
		BytesDown   int64 `json:"bytes_down"`
	}{c.connections.Load(), c.refused.Load(), c.cuts.Load(), c.stalls.Load(), c.halfOpens.Load(),
		c.bytes[up].Load(), c.bytes[down].Load()})
}
