package nd

import (
	"testing"
	"time"
)

// An advertiser that follows another on its link, of which hosts have heard a first
// final advertisement, takes back what that one was taking back and does not have
// itself, and keeps the least interval.
func TestSuccessor(t *testing.T) {
	c := mobileConfig()
	c.MinInterval, c.MaxInterval, c.MinDelay = time.Second, 2*time.Second, time.Second
	c.Advertisement.RouterLifetime = time.Minute
	kept, left := prefixOption("2001:db8:c::/64", time.Hour, time.Hour), prefixOption("2001:db8:b::/64", time.Hour, time.Hour)
	withBoth, withKept, without := c, c, c
	own := c.Advertisement.Prefixes[:1:1]
	withBoth.Advertisement.Prefixes = append(own, kept, left)
	withKept.Advertisement.Prefixes = append(own, kept)
	without.Advertisement.Prefixes = own

	old := newAdvertiser(t, withBoth)
	old.wake()
	old.now = old.now.Add(1500 * time.Millisecond)
	if _, err := old.Reconfigure(old.now, without); err != nil {
		t.Fatal(err)
	}
	old.one(old.Stop(old.now.Add(time.Second)), AllNodes())
	old.now = old.now.Add(time.Second)

	a := newAdvertiser(t, withKept)
	a.now = old.now.Add(100 * time.Millisecond)
	a.Succeed(a.now, old.Advertiser)
	if d := a.Next().Sub(old.now); d != c.MinDelay {
		t.Errorf("the first is due %v after the last of the one before", d)
	}
	preferred := map[string]time.Duration{}
	for _, p := range a.one(a.wake(), AllNodes()).Prefixes {
		preferred[p.Prefix.Masked().String()] = p.PreferredLifetime
	}
	if p, ok := preferred["2001:db8:c::/64"]; !ok || p != time.Hour {
		t.Errorf("a prefix that is back: %v, %v", p, ok)
	}
	if p, ok := preferred["2001:db8:b::/64"]; !ok || p != 0 {
		t.Errorf("a prefix that left: %v, %v", p, ok)
	}

	// Of one that had not yet come to take anything back.
	old = newAdvertiser(t, withBoth)
	old.wake()
	a = newAdvertiser(t, without)
	a.Succeed(old.now, old.Advertiser)
	if list := a.one(a.wake(), AllNodes()).Prefixes; len(list) != len(own)+2 {
		t.Errorf("prefixes %+v", list)
	}
}
