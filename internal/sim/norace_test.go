//go:build !race

package sim

const underRaceDetector = false
