package wire

// The shapes of the tables in schema/*.fbs, for the verifier. A test holds each of
// them against the generated accessors.

// Sizes of the inline fields, by their names in the schemas.
func ulong(name string) field  { return field{name: name, shape: inline, size: 8, align: 8} }
func word(name string) field   { return field{name: name, shape: inline, size: 4, align: 4} }
func ushort(name string) field { return field{name: name, shape: inline, size: 2, align: 2} }
func ubyte(name string) field  { return field{name: name, shape: inline, size: 1, align: 1} }
func text(name string) field   { return field{name: name, shape: str} }

// ulongs is a vector of structs of n words of 64 bits; of the bare words with n = 1.
func ulongs(name string, n int) field {
	return field{name: name, shape: vector, size: 8 * n, align: 8}
}

func tables(name string, child *table) field {
	return field{name: name, shape: children, child: child}
}

// Tables from peers.
var (
	helloTable = table{"Hello", []field{
		{name: "incarnation", shape: inline, size: 16, align: 8, required: true},
		ulong("max_message"), text("agent"),
		{name: "session", shape: inline, size: 16, align: 8}, ulongs("lanes", 6),
	}}
	pingTable   = table{"Ping", []field{ulong("nonce")}}
	pongTable   = table{"Pong", []field{ulong("nonce")}}
	goAwayTable = table{"GoAway", []field{word("code"), text("text")}}
)

// Details of events and snapshots: written by this side, but kept, moved and read
// back by programs.
var (
	upTable = table{"UpDetail", []field{
		text("local"), text("remote"), text("agent"), ulong("max_message"), ushort("wire_version"),
	}}
	closedTable    = table{"ClosedDetail", []field{word("code"), text("text"), ulongs("lanes", 6)}}
	restartedTable = table{"RestartedDetail", []field{ulongs("lanes", 6)}}
	acceptedTable  = table{"AcceptedDetail", []field{ulong("listener"), text("remote")}}

	workerTable   = table{"WorkerSnapshot", []field{word("index"), ulongs("counters", 1)}}
	endpointTable = table{"EndpointSnapshot", []field{
		ulong("id"), ubyte("state"), text("local"), text("remote"), ulong("rtt_ns"), ulongs("lanes", 6),
	}}
	snapshotTable = table{"Snapshot", []field{
		ulong("id"), tables("workers", &workerTable), tables("endpoints", &endpointTable),
	}}
)
