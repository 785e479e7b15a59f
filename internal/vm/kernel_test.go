package vm

import (
	"slices"
	"testing"
)

// listing is what apt knows on Debian 12 with its security updates, and a little of what
// others may have.
var listing = []string{
	"linux-image-cloud-amd64", "linux-image-6.12-cloud-amd64", "linux-image-amd64",
	"linux-image-6.1.0-9-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64", "linux-image-6.1.0-47-cloud-amd64-dbg",
	"linux-image-6.12.117+deb12-cloud-amd64-unsigned", "linux-image-6.12.117+deb12-cloud-amd64", "linux-image-6.12.117+deb12-amd64",
	"linux-image-6.12.99+deb12-cloud-amd64", "linux-image-6.12.117+deb12-cloud-arm64", "linux-image-5.10.0-40-cloud-amd64",
}

func TestReleases(t *testing.T) {
	for version, want := range map[string][]string{
		"":                           {"6.12.117+deb12-cloud-amd64", "6.12.99+deb12-cloud-amd64", "6.1.0-56-cloud-amd64", "6.1.0-9-cloud-amd64"},
		"6.1":                        {"6.1.0-56-cloud-amd64", "6.1.0-9-cloud-amd64"},
		"6.12.99":                    {"6.12.99+deb12-cloud-amd64"},
		"6.12.117+deb12-cloud-amd64": {"6.12.117+deb12-cloud-amd64"},
		"5.10":                       nil,
	} {
		if got := releases(PC, listing, version); !slices.Equal(got, want) {
			t.Errorf("version %q: %q, want %q", version, got, want)
		}
	}
}

func TestCompareReleases(t *testing.T) {
	inOrder := []string{"6.1.0-9-cloud-amd64", "6.1.0-10-cloud-amd64", "6.9.1-cloud-amd64", "6.12.9+deb12-cloud-amd64", "6.12.9+deb13-cloud-amd64", "6.012.10+deb12-cloud-amd64"}
	for i, a := range inOrder {
		for j, b := range inOrder {
			if got, want := compareReleases(a, b), min(1, max(-1, i-j)); got != want {
				t.Errorf("%s and %s: %d, want %d", a, b, got, want)
			}
		}
	}
}
