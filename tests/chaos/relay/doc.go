// Command relay stands between two programs that talk over TCP and does to their
// connections what networks do: it cuts them, by FIN or by RST, holds them up,
// passes them on in small pieces or late, and lets one direction die while both
// sockets look alive. It changes no byte.
//
// Faults come at random times, each kind by a schedule of its own that depends on
// the seed alone: one seed gives one plan, counted from the first connection. A
// fault hits every connection that is open then.
//
// It ends when its standard input is closed or on SIGTERM, so that it cannot
// outlive the program that started it, and prints what it did as a line of JSON.
package main
