// Package bytequeue holds bytes between a producer and a consumer that do not run
// at the same time, in memory that exists only while there are bytes: a link that
// is idle owns none. It is what library-driven links buffer in.
package bytequeue
