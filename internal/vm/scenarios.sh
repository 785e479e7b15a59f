# The scenarios of the lab that `make vm-test` plays on a stock kernel, with its tunnels:
# see suites.sh. Round trips are long beside what the machine itself takes, and packets are
# few.
roam6 doctor
lab() {
	scenario=$1
	shift
	roam6 lab run "$scenario" --plane kernel --probe-interval 40ms --tcp-rate 20000 "$@"
}
lab ride --handovers 4 --dwell 2s --dwell-fast 2s --delay-ar 20ms --delay-ha 100ms --delay-cn 20ms
lab host --handovers 4 --dwell 2s --delay-ar 20ms --delay-ha 100ms --delay-cn 40ms
lab nested --dwell 2s --delay-ar 20ms --delay-ha 60ms --delay-ha2 40ms
lab hierarchy --dwell 2s --delay-ar 20ms --delay-map 60ms --delay-ha 200ms --no-comparison --kill restart
lab failover --dwell 1s --delay-ar 20ms --delay-ha 60ms
lab delegation --handovers 2 --dwell 1s --delay-ar 20ms --delay-ha 60ms
lab mobiles --dwell 2s --delay-ar 20ms --delay-ha 100ms --delay-direct 40ms
lab renumber --delay-ar 20ms --delay-ha 60ms
lab fleet --routers 6 --access-routers 3 --duration 10s --delay-ar 20ms --delay-ha 60ms --probe-interval 200ms
roam6 lab run flood --plane kernel --rate 1000 --duration 500ms
lab uplinks --dwell 2s --flaps 2 --delay-eth 20ms --delay-ha 40ms --delay-wlan 40ms --delay-wwan 120ms

# Leased care-of addresses, of Kea and dnsmasq.
file /usr/sbin/kea-dhcp6
file /usr/sbin/dnsmasq
lab managed --delay-ar 20ms --delay-ha 60ms

# Keys by IKEv2, of strongSwan's charon: for signalling, and for payload as well.
file /usr/sbin/charon-systemd
file /usr/lib/ipsec
file /etc/strongswan.d
lab host --ike --untimed --handovers 4 --dwell 4s --delay-ha 200ms --delay-cn 60ms --delay-ar 20ms
lab host --ike --payload --no-ro --untimed --handovers 2 --dwell 4s --delay-ha 200ms --delay-cn 60ms --delay-ar 20ms
