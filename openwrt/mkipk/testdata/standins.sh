# shellcheck shell=dash
# Stand-ins for OpenWrt's functions: those that read the configuration do, the others
# record how they were called, a line each, in the file $RECORD. The configuration is in
# $IPKG_INSTROOT/uci, one file of calls to section, option and item for each package.

record() {
	local call="$1" word
	shift
	for word in "$@"; do
		call="$call [$word]"
	done
	printf '%s\n' "$call" >>"$RECORD"
}

for name in procd_open_instance procd_set_param procd_append_param procd_close_instance procd_open_data \
	procd_close_data procd_add_jail procd_kill procd_set_config_changed procd_add_reload_trigger \
	procd_add_reload_interface_trigger uci_load_validate extra_command json_add_object json_add_string \
	json_add_array json_close_object json_close_array proto_config_add_string proto_notify_error \
	proto_block_restart proto_export proto_run_command proto_kill_command proto_init_update \
	proto_add_ipv6_address proto_add_ipv6_prefix proto_send_update logger sleep; do
	eval "$name() { record $name \"\$@\"; }"
done

# Of a validation procd runs the function, without a section.
procd_add_validation() { "$1" '' ''; }

# The options of the interface, as netifd hands them over.
json_get_vars() {
	local name
	for name in "$@"; do
		eval "$name=\"\$JSON_$name\""
	done
}

# An interface without a device in the configuration has that of $L3_NAME.
network_get_device() {
	eval "$1=\"\$L3_$2\""
	eval "[ -n \"\$$1\" ]"
}

section() { # TYPE NAME
	CONFIG_SECTIONS="$CONFIG_SECTIONS $2"
	eval "CONFIG_$2_TYPE=\$1"
}

option() { # NAME OPTION VALUE
	eval "CONFIG_$1_$2=\$3"
}

item() { # NAME OPTION VALUE
	eval "CONFIG_$1_$2=\"\${CONFIG_$1_$2:+\$CONFIG_$1_$2 }\$3\""
}

config_load() {
	CONFIG_SECTIONS=
	if [ -e "$IPKG_INSTROOT/uci/$1" ]; then
		# shellcheck source=/dev/null
		. "$IPKG_INSTROOT/uci/$1"
	fi
}

config_foreach() { # FUNCTION TYPE ARGUMENT...
	local function="$1" type="$2" section found
	shift 2
	for section in $CONFIG_SECTIONS; do
		eval "found=\$CONFIG_${section}_TYPE"
		[ "$found" != "$type" ] || "$function" "$section" "$@"
	done
}

config_get() { # VARIABLE NAME OPTION DEFAULT
	eval "$1=\"\${CONFIG_$2_$3:-\$4}\""
}

config_get_bool() {
	config_get "$@"
	case "$(eval "echo \"\$$1\"")" in
	1 | on | true | yes | enabled) eval "$1=1" ;;
	*) eval "$1=0" ;;
	esac
}

# What rc.common makes of a service.
start() {
	start_service
	service_started
}

stop() {
	procd_kill
	service_stopped
}
