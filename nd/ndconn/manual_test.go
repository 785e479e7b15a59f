package ndconn
import ("testing";"os/exec";"time";"math/rand/v2";"roam6/nd";"roam6/mip6";"github.com/vishvananda/netlink";"roam6/internal/rtnl/nstest";"bytes")
func TestManual(t *testing.T){
	w := newWorld(t)
	w.router.Address("r0","2001:db8:1::1/64")
	r:=w.open(w.router,"r0")
	ra:=w.advertisement(); ra.MTU=1400; ra.HomeAgentInfo=&mip6.HomeAgentInformation{Preference:-2,Lifetime:time.Minute,MobileRouter:true}; ra.Preference=nd.PreferenceHigh
	a, err := nd.NewAdvertiser(time.Now(), nd.AdvertiserConfig{MinInterval: nd.MinMinInterval, MaxInterval: nd.MinMaxInterval, MinDelay: nd.MinDelayOfRAs,SolicitedUnicast: true, TellInterval: true, Advertisement: ra}, rand.New(rand.NewPCG(1, 2)))
	must(t,err)
	stop:=make(chan struct{}); f:=drive(r,a,stop)
	w.host.Do(func() error { b,_:=exec.Command("sh","-c","(tshark -i h0 -c 1 -V -f 'icmp6 and ip6[40]==134' 2>&1 | sed -n '/^Ethernet/,$p'); rdisc6 -1 h0; rdisc6 -m -w 300 h0 | grep from").CombinedOutput(); t.Logf("%s",b); return nil })
	close(stop); <-f
}
// snooping bridge between host and HA
func TestSnoop(t *testing.T){
	sw, ha, host, third := nstest.New(t), nstest.New(t), nstest.New(t), nstest.New(t)
	at:=netlink.NewLinkAttrs(); at.Name="br"
	on:=true
	must(t, sw.Handle.LinkAdd(&netlink.Bridge{LinkAttrs:at, MulticastSnooping:&on}))
	sw.LinkUp("br")
	sw.Do(func() error { b,e:=exec.Command("unshare","-m","sh","-c","mount -t sysfs none /sys && echo 1 > /sys/class/net/br/bridge/multicast_querier && cat /sys/class/net/br/bridge/multicast_querier").CombinedOutput(); t.Logf("%s %v",b,e); return nil})
	for i,s := range []*nstest.Space{ha,host,third} { n:=string(rune('a'+i)); nstest.Veth(sw,"s"+n,s,"e"+n)
		must(t, sw.Handle.LinkSetMaster(sw.Link("s"+n), sw.Link("br"))) }
	w:=&world{T:t,router:ha,host:host}
	for _, defended := range []bool{true} {
	if defended { // third is a member of the group as if the mobile was there a moment ago
		third.Address("ec","2001:db8:1::a/64") }
	}
	time.Sleep(23*time.Second)
	h:=w.open(ha,"ea"); c:=w.open(host,"eb")
	sw.Do(func() error { b,_:=exec.Command("bridge","mdb").CombinedOutput(); t.Logf("%s",b); return nil})
	must(t,c.SendDAD(away)); time.Sleep(200*time.Millisecond)
	t.Logf("without group: ha heard %+v", h.Counters().Delivered)
	h.Defend(away,false); time.Sleep(300*time.Millisecond)
	must(t,c.SendDAD(away)); time.Sleep(200*time.Millisecond)
	t.Logf("with group: ha heard %+v answered %d", h.Counters().Delivered, h.Counters().Answered)
	_ = bytes.Clone
}
