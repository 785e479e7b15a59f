package tun
import ("testing"; "roam6/overlay/planetest")
func TestZZ(t *testing.T){ planetest.ZZ(t, openPlane) }
