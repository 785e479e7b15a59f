//go:build nolab

package main

// labCommands are none: a router measures no worlds.
func labCommands() []command { return nil }
