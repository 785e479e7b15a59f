//go:build race

package sim

// underRaceDetector: the detector makes a ride several times slower, and a world has
// one goroutine. What it can find is that worlds at the same time share something,
// for which a part of the rides is enough; `make test` plays all of them without it.
const underRaceDetector = true
