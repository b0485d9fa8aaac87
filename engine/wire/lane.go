package wire

import "strconv"

// Lane is one of an endpoint's independent message queues. Messages are ordered
// within a lane and never across lanes.
type Lane uint8

// The lanes. Normal is 0, so that the zero value of a tag is the default lane.
const (
	Normal Lane = iota
	Urgent
	Low
	Bulk
	// Lanes is the number of lanes; valid lanes are below it.
	Lanes = 4
)

// Priority lists the lanes in the order in which a sender serves them.
var Priority = [Lanes]Lane{Urgent, Normal, Low, Bulk}

// String returns the lane's name in upper case, as the documents write it.
func (l Lane) String() string {
	switch l {
	case Normal:
		return "NORMAL"
	case Urgent:
		return "URGENT"
	case Low:
		return "LOW"
	case Bulk:
		return "BULK"
	}
	return "lane " + strconv.Itoa(int(l))
}
