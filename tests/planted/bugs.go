package main

// bug is an edit of the engine that makes it wrong.
type bug struct {
	name string // what goes wrong
	file string
	old  string // is in the file once
	new  string
}

const (
	backlog = "engine/endpoint/backlog.go"
	credit  = "engine/endpoint/credit.go"
	life    = "engine/endpoint/endpoint.go"
	receive = "engine/endpoint/receive.go"
	send    = "engine/endpoint/send.go"
	session = "engine/endpoint/session.go"
	bell    = "engine/outbox/bell.go"
	reader  = "engine/outbox/reader.go"
	remnant = "engine/outbox/remnant.go"
	expire  = "engine/outbox/expire.go"
	sched   = "engine/driver/sched/sched.go"
)

// bugs are mistakes that somebody who changes the engine could make.
var bugs = []bug{
	{"what is consumed is never acknowledged", credit, "\t\te.acks.by = e.now + ackDelay\n", "\t\te.acks.by = 0\n"},
	{"acknowledgements are late by seconds", credit,
		"e.acks.by = e.now + ackDelay\n", "e.acks.by = e.now + 100*ackDelay\n"},
	{"one message too many is acknowledged", credit,
		"return wire.Credit{Consumed: c.Messages, Window:", "return wire.Credit{Consumed: c.Messages + 1, Window:"},
	{"one message too few is acknowledged", credit,
		"return wire.Credit{Consumed: c.Messages, Window:",
		"return wire.Credit{Consumed: max(c.Messages, 1) - 1, Window:"},
	{"what lies in a queue is acknowledged", credit,
		"case e.config.Later || n.Messages == 0:", "case n.Messages == 0:"},
	{"credit leaks", credit, "\tc.Bytes += n.Bytes\n", "\tc.Bytes += n.Bytes - n.Bytes/16\n"},
	{"less credit is allowed for than was granted", credit,
		"e.acks.limit[lane] = c.Bytes + window\n", "e.acks.limit[lane] = c.Bytes + window/2\n"},
	{"credit is ignored", send,
		"return int(e.send.limit[lane] - min(c.bytes, e.send.limit[lane]))", "return longFrame"},
	{"credit is not granted after a resumption", session,
		"\t\te.send.limit[i] = max(e.send.limit[i], r.Acked().Bytes+min(p.Window, maxWindow))\n", ""},
	{"credit of a lost session is kept", session,
		"\te.send.limit[lane] = r.Acked().Bytes + min(p.Window, maxWindow)\n",
		"\te.send.limit[lane] += p.Window / 4\n"},
	{"an acknowledgement of a lost session counts", credit,
		"\tcase epoch == e.epoch:\n", "\tcase epoch <= e.epoch:\n"},
	{"a rewind goes back one too far", session,
		"r.Rewind(max(p.Received, acked))", "r.Rewind(max(p.Received, acked+1) - 1)"},
	{"a rewind goes back one too little", session, "r.Rewind(max(p.Received, acked))",
		"r.Rewind(min(max(p.Received, acked)+1, max(r.Touched(), acked)))"},
	{"a rewind stops before padding", reader,
		"\t\tr.sent = r.behind(r.sent + size)\n", "\t\tr.sent += size\n"},
	{"a rewind counts the bytes twice", reader,
		"\tr.sent, r.taken = r.freed, r.acked\n", "\tr.sent, r.taken.Messages = r.freed, r.acked.Messages\n"},
	{"what was sent in part counts as never sent", reader,
		"r.touch(r.taken.Messages, r.taken.Messages+1)\n", "r.touch(r.taken.Messages, r.taken.Messages)\n"},
	{"a late message is withdrawn though it was sent in part", reader,
		"h.Kind() == kindTimed {\n\t\tr.keep(at)\n", "h.Kind() == kindTimed && at == nil {\n\t\tr.keep(at)\n"},
	{"messages behind a late one are withdrawn early", expire,
		"h.Kind() != kindTimed || deadline(at) > now", "h.Kind() != kindTimed"},
	{"late messages that were swept are not told", session,
		"\t\te.skip(i, acked-min(p.Received, acked))\n", ""},
	{"late messages are not told again after a resumption", send,
		"\tcase entry.Withdrawn:\n", "\tcase entry.Withdrawn && r.Taken().Messages < r.Touched():\n" +
			"\t\tc.pos = entry.End()\n\t\treturn true\n\tcase entry.Withdrawn:\n"},
	{"a long message begins again after a resumption", session,
		"longMessage{off: int(p.Offset), charge", "longMessage{off: 0, charge"},
	{"the frame that was cut is finished on the next link", session,
		"\te.send.begun, e.send.begunSize, e.send.pongDue = piece{}, 0, false\n", ""},
	{"half a long message survives the restart of its sender", session, "\t\te.discardLong()\n", ""},
	{"a worker that sleeps is not woken", bell, "\treturn bell.Wake()\n", "\tbell.Wake()\n\treturn nil\n"},
	{"a notice is taken once only", bell, "\t\ts.scheduled.Store(0)\n", ""},
	{"who waits for room is not told", reader,
		"return used == 0 || l.roomy(", "return used > 1<<40 && l.roomy("},
	{"timers are late", sched, "\tn.armed = due\n\tif n.index == 0 {", "\tn.armed = due + 300e6\n\tif n.index == 0 {"},
	{"timers are forgotten", sched, "\ts.up(n.index - 1)\n", ""},
	{"what waits of a lost session counts for the next", backlog, "\te.behind = e.epoch - h.epoch\n", ""},
	{"what may have been delivered is listed as never sent", remnant,
		"Maybe: id < p.Touched", "Maybe: id+1 < p.Touched"},
	{"a list lacks the last message", remnant, "rest := p.Entries; len(rest) > 0;",
		"rest := p.Entries; len(rest) > 2*wordSize;"},
	{"a list is of memory that is used again", remnant, "\t\t\tp.Chunk = r.takeChunk(begin)\n",
		"\t\t\tp.Chunk = r.takeChunk(begin)\n\t\t\tt.chunks.GiveDirty(p.Chunk)\n"},
	{"what is listed is given back before", remnant, "\t\t\t\tm.Charged += t.takes(ref)\n",
		"\t\t\t\tm.Charged += t.takes(ref)\n\t\t\t\tt.Release(*ref)\n"},
	{"a list counts less than it holds", remnant, "\t\t\tm.Charged += int64(t.chunks.PieceSize())\n", ""},
	{"the part of a message that HELLO tells is too large", session,
		"uint64(len(a.memory.Bytes)), a.have\n", "uint64(len(a.memory.Bytes)), a.have + 8\n"},
	{"a new link is taken while the old one goes on", session,
		"\tif e.phase != Waiting {\n\t\tif e.detach(Reset, \"the peer came",
		"\tif e.phase < Opening {\n\t\tif e.detach(Reset, \"the peer came"},
	{"a session ends long after its time", session,
		"e.resumeBy = e.now + e.config.Resume\n", "e.resumeBy = e.now + 2*e.config.Resume\n"},
	{"silence is never noticed", life, "case e.pinged == maxPings:", "case e.pinged > 100*maxPings:"},
	{"a handshake may take for ever", session, "\te.openBy = now + e.config.Handshake\n", ""},
	{"lingering has no end", life, "\t\te.deadline = deadline\n", ""},
	{"lanes are mixed up", receive, "\t\tin.next += count[i].Messages\n",
		"\t\te.receive.lanes[i&2].next += count[i].Messages\n"},
	{"messages overtake what is held", receive, "\tif e.holding() {\n\t\te.hold(held{what: heldRun",
		"\tif false {\n\t\te.hold(held{what: heldRun"},
	{"a restart is not reported", session, "\te.inOrder(held{what: heldEvent, event: Event{Kind: EventRestarted,\n",
		"\te.hold(held{what: heldKind(99), event: Event{Kind: EventRestarted,\n"},
	{"the account of a restart counts what was reported before", session,
		"\te.send.since[lane] = r.Acked().Messages\n", ""},
	{"who paused is never given the rest", backlog, "\te.now, e.paused = now, false\n", "\te.now = now\n"},
	{"what is behind a pause is lost", backlog, "append(e.receive.backlog, list[done:]...)",
		"append(e.receive.backlog, list[len(list):]...)"},
	{"the end comes before all is consumed", life, "e.closing && e.phase == Open && e.Acked() }",
		"e.closing && e.phase == Open }"},
}
