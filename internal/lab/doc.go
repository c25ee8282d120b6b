// Package lab starts real components for the integration tests: PostgreSQL, Open vSwitch and OVN, simulated BMCs, libvirt, and the
// OpenStack command line.
//
// Everything listens on loopback or on sockets in a temporary folder, keeps its data there, and is stopped when the test that started it
// ends; nothing of the machine's own services is touched. The programs are those of Debian 12, which `make integration` installs. A test
// whose program is missing is skipped, or fails when RISER_INTEGRATION is set, since then it was expected to run.
//
// The package is built with the tag integration only, and imported by tests only.
package lab
