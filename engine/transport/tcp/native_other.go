//go:build !linux && !js

package tcp

// native returns the platform's best flavour.
func native() flavour { return portable{} }
