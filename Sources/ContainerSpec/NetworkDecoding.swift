extension NetworkSettings {
    /// The most adapters: a VM of VMware's has ten.
    public static let interfaceLimit = 16

    /// nil where there is no adapter.
    static func read(_ reader: ObjectReader) -> NetworkSettings? {
        if let version = reader.value("version") {
            if version != .integer(2) { reader.mismatch("version", "2", version) }
        } else {
            reader.report(.missing, "version", "required: 2, the version of the format")
        }
        reader.refuseRenderer()
        for name in ["bonds", "bridges", "vlans", "wifis", "modems", "tunnels", "vrfs", "dummy-devices", "virtual-ethernets", "nm-devices"]
        {
            reader.refuse([name], "not honoured: only ethernets are")
        }
        reader.refuse(["openvswitch"], "not honoured: there is no Open vSwitch in the VM")
        reader.refuseUnknown([
            "version", "renderer", "ethernets", "bonds", "bridges", "vlans", "wifis", "modems", "tunnels", "vrfs", "dummy-devices",
            "virtual-ethernets", "nm-devices", "openvswitch",
        ])
        guard let ethernets = reader.object("ethernets") else { return nil }
        var settings = NetworkSettings()
        if ethernets.members.count > interfaceLimit {
            reader.report(.invalid, "ethernets", "expected at most \(interfaceLimit) adapters, found \(ethernets.members.count)")
            return nil
        }
        var check = NetworkCheck()
        for member in ethernets.members {
            guard case .object(let members) = member.value else {
                // null leaves it out, as it does elsewhere.
                if member.value != .null { ethernets.mismatch(member.name, "an object", member.value) }
                continue
            }
            let adapter = ObjectReader(members: members, path: ethernets.path(member.name), issues: ethernets.issues)
            if let interface = InterfaceSettings.read(adapter, id: member.name) {
                check.add(interface, adapter)
                settings.interfaces.append(interface)
            }
        }
        return settings.interfaces.isEmpty ? nil : settings
    }
}

extension InterfaceSettings {
    /// The most of `addresses`.
    public static let addressLimit = 64
    /// The most of `routes`.
    public static let routeLimit = 256
    /// The most of `nameservers.addresses`, and of `nameservers.search`.
    public static let nameserverLimit = 16

    /// - Parameter id: the entry's name.
    /// - Returns: nil where it cannot be said which adapter is meant.
    fileprivate static func read(_ reader: ObjectReader, id: String) -> InterfaceSettings? {
        defer { refuseOthers(reader) }
        let match = self.match(reader, id)
        var interface = InterfaceSettings(id: id, match: match ?? .name(id))
        if let text = reader.string("set-name"), !text.isEmpty {
            interface.name = text
            if let problem = interfaceNameProblem(text) { reader.report(.invalid, "set-name", problem) }
            if reader.value("match") == nil {
                reader.report(.invalid, "set-name", "needs \"match\", which says what adapter gets the name")
            }
        }
        interface.usesDHCP = reader.bool("dhcp4") ?? false
        if let overrides = reader.object("dhcp4-overrides") { interface.readOverrides(overrides) }
        interface.readAddresses(reader)
        interface.readRoutes(reader)
        if let nameservers = reader.object("nameservers") { interface.readNameservers(nameservers) }
        interface.mtu = reader.integer32("mtu", 68...65535)
        // RFC 8200, section 5.
        if let mtu = interface.mtu, mtu < 1280, interface.addresses.contains(where: { !$0.address.isIPv4 }) {
            reader.report(.invalid, "mtu", "expected at least 1280 with an IPv6 address, found \(mtu)")
        }
        interface.isOptional = reader.bool("optional") ?? false
        return match == nil ? nil : interface
    }

    private static func match(_ reader: ObjectReader, _ id: String) -> Match? {
        guard reader.value("match") != nil else {
            if let problem = interfaceNameProblem(id) {
                reader.issues.report(.invalid, reader.path, "without \"match\" it is an adapter's name: \(problem)")
                return nil
            }
            return .name(id)
        }
        if !isPlainName(id, limit: 64) {
            let expected = "expected a name of 1 to 64 letters, digits, \"-\", \"_\" and \".\", first a letter or digit"
            reader.issues.report(.invalid, reader.path, "\(expected), found \(quoted(id))")
        }
        guard let object = reader.object("match") else { return nil }
        object.refuse(["driver"], "not honoured: an adapter is matched by its name or its address")
        object.refuseUnknown(["name", "macaddress", "driver"])
        let (name, address) = (object.string("name") ?? "", object.string("macaddress") ?? "")
        if !name.isEmpty && !address.isEmpty {
            object.report(.unsupported, "name", "not honoured beside \"macaddress\": one of them")
        } else if !address.isEmpty {
            if let bytes = hardwareAddress(address) { return .macAddress(bytes) }
            object.report(.invalid, "macaddress", "expected six bytes such as \"00:50:56:01:02:03\", found \(quoted(address))")
        } else if !name.isEmpty {
            guard let problem = interfaceNameProblem(name) else { return .name(name) }
            object.report(.invalid, "name", problem)
        } else if ["name", "macaddress", "driver"].allSatisfy({ object.value($0)?.asksForNothing ?? true }) {
            reader.report(.missing, "match", "required: \"name\" or \"macaddress\"")
        }
        return nil
    }

    private mutating func readOverrides(_ reader: ObjectReader) {
        takesDHCPRoutes = reader.bool("use-routes") ?? true
        for name in ["use-dns", "use-mtu", "use-domains", "send-hostname"] {
            reader.refuse(name, but: .bool(true), "not honoured: what DHCP gives is taken, and the host name sent")
        }
        for name in ["use-ntp", "use-hostname"] {
            reader.refuse(name, but: .bool(false), "not honoured: the time is the hypervisor's, and the host name the configuration's")
        }
        for name in ["hostname", "route-metric"] { reader.refuse(name, but: nil, "not honoured yet") }
        reader.refuseUnknown([
            "use-routes", "use-dns", "use-mtu", "use-domains", "send-hostname", "use-ntp", "use-hostname", "hostname", "route-metric",
        ])
    }

    private mutating func readAddresses(_ reader: ObjectReader) {
        guard let elements = reader.bounded("addresses", InterfaceSettings.addressLimit) else { return }
        for (index, element) in elements.enumerated() {
            guard case .string(let text) = element else {
                let isMapping = if case .object = element { true } else { false }
                let found = isMapping ? "an object, whose lifetime and label are not honoured" : element.summary
                reader.report(index, "addresses", "expected an address and its prefix's length, such as \"192.0.2.7/24\", found \(found)")
                continue
            }
            guard let prefix = IPPrefix(text), prefix.length > 0, prefix.address.isHost else {
                let expected = "expected an address of a host and its prefix's length, such as \"192.0.2.7/24\" or \"2001:db8::7/64\""
                reader.report(index, "addresses", "\(expected), found \(quoted(text))")
                continue
            }
            if addresses.contains(where: { $0.address == prefix.address }) {
                reader.report(index, "addresses", "\(prefix.address.text) is there twice")
            } else {
                addresses.append(prefix)
            }
        }
    }

    private mutating func readRoutes(_ reader: ObjectReader) {
        for (name, isIPv4) in [("gateway4", true), ("gateway6", false)] {
            guard let text = reader.string(name), !text.isEmpty else { continue }
            if let gateway = IPAddress(text), gateway.isHost, gateway.isIPv4 == isIPv4 {
                routes.append(RouteSettings(to: nil, via: gateway))
            } else {
                reader.report(.invalid, name, "expected an IPv\(isIPv4 ? 4 : 6) address, found \(quoted(text))")
            }
        }
        for route in reader.objects("routes", limit: InterfaceSettings.routeLimit) ?? [] {
            if let route = RouteSettings.read(route) { routes.append(route) }
        }
    }

    private mutating func readNameservers(_ reader: ObjectReader) {
        for (index, element) in (reader.bounded("addresses", InterfaceSettings.nameserverLimit) ?? []).enumerated() {
            guard case .string(let text) = element, let address = IPAddress(text), address.isHost else {
                reader.report(index, "addresses", "expected the address of a name server, found \(element.summary)")
                continue
            }
            if !nameservers.contains(address) { nameservers.append(address) }
        }
        if let elements = reader.bounded("search", InterfaceSettings.nameserverLimit), !elements.isEmpty {
            searchDomains = reader.strings("search") { isPlainName($0, limit: 253) ? nil : "expected a domain, found \(quoted($0))" } ?? []
        }
        reader.refuseUnknown(["addresses", "search"])
    }

    /// What netplan has beside that. Values that say what is so anyhow are taken.
    private static func refuseOthers(_ reader: ObjectReader) {
        reader.refuseRenderer()
        let byKernel = "not honoured: IPv6 addresses are those of \"addresses\" and the kernel's own, by autoconfiguration"
        let others: [(name: String, taken: JSONValue?, reason: String)] = [
            ("dhcp6", .bool(false), byKernel), ("dhcp6-overrides", .object([]), byKernel), ("accept-ra", .bool(true), byKernel),
            ("ipv6-privacy", .bool(false), byKernel), ("ipv6-address-generation", nil, byKernel), ("ipv6-address-token", nil, byKernel),
            ("ipv6-mtu", nil, "not honoured: \"mtu\" is"), ("link-local", .array([.string("ipv6")]), byKernel),
            ("dhcp-identifier", .string("duid"), "not honoured: the identifier is a DUID made of the VM's UUID"),
            ("optional-addresses", .array([]), "not honoured: \"optional\" is, for all of an adapter"),
            ("activation-mode", nil, "not honoured: an adapter is set up, or left out of the configuration"),
            ("macaddress", nil, "not honoured: the address is the hypervisor's to set"),
            ("wakeonlan", .bool(false), "not honoured: a VM does not sleep"), ("emit-lldp", .bool(false), "not honoured"),
            ("critical", .bool(true), "not honoured: what is set up stays as long as its lease"),
            ("ignore-carrier", .bool(true), "not honoured: a static address is set without a carrier, too"),
            ("routing-policy", .array([]), "not honoured yet"), ("auth", .object([]), "not honoured: there is no 802.1X"),
            ("link", nil, "not honoured: SR-IOV is the hypervisor's"),
            ("virtual-function-count", nil, "not honoured: SR-IOV is the hypervisor's"),
            ("embedded-switch-mode", nil, "not honoured: SR-IOV is the hypervisor's"),
            ("delay-virtual-functions-rebind", nil, "not honoured: SR-IOV is the hypervisor's"),
            ("infiniband-mode", nil, "not honoured: only Ethernet is"),
            ("openvswitch", nil, "not honoured: there is no Open vSwitch in the VM"),
        ]
        let offloads = [
            "receive-checksum-offload", "transmit-checksum-offload", "tcp-segmentation-offload", "tcp6-segmentation-offload",
            "generic-segmentation-offload", "generic-receive-offload", "large-receive-offload",
        ]
        for other in others { reader.refuse(other.name, but: other.taken, other.reason) }
        for name in offloads { reader.refuse(name, but: nil, "not honoured: the driver's choice is kept") }
        reader.refuseUnknown(
            [
                "match", "set-name", "renderer", "dhcp4", "dhcp4-overrides", "addresses", "gateway4", "gateway6", "routes", "nameservers",
                "mtu", "optional",
            ] + others.map { $0.name } + offloads)
    }
}

extension RouteSettings {
    /// nil after a report.
    fileprivate static func read(_ reader: ObjectReader) -> RouteSettings? {
        reader.refuse("on-link", but: .bool(false), "not honoured: a route without \"via\" makes the gateway one of the link")
        reader.refuse("type", but: .string("unicast"), "not honoured: a route is unicast")
        // The main table, whatever it is called.
        reader.refuse("table", but: .integer(254), "not honoured: routes are in the main table, 254")
        for name in ["from", "mtu", "congestion-window", "advertised-receive-window", "advmss"] {
            reader.refuse(name, but: nil, "not honoured yet")
        }
        reader.refuseUnknown([
            "to", "via", "metric", "on-link", "type", "scope", "table", "from", "mtu", "congestion-window", "advertised-receive-window",
            "advmss",
        ])
        let before = reader.issues.count
        var route = RouteSettings(to: nil, via: nil)
        if let text = reader.string("via"), !text.isEmpty {
            route.gateway = IPAddress(text)
            if route.gateway?.isHost != true { reader.report(.invalid, "via", "expected an address, found \(quoted(text))") }
        }
        reader.refuse(
            "scope", but: .string(route.gateway == nil ? "link" : "global"),
            "not honoured: a route with \"via\" has the scope global, one without it link")
        route.metric = reader.integer32("metric")
        reader.require("to", "\"default\", or a destination")
        guard let text = reader.string("to"), reader.issues.count == before else { return nil }
        if text == "default" {
            reader.require("via", "the gateway of a default route")
        } else if let destination = text == "0/0" ? IPPrefix("0.0.0.0/0") : IPPrefix(text) ?? IPAddress(text)?.prefix {
            if let gateway = route.gateway, gateway.isIPv4 != destination.address.isIPv4 {
                reader.report(.invalid, "via", "expected an address of the destination's family, found \(gateway.text)")
            }
            if destination.length > 0 {
                route.destination = destination.network
            } else {
                reader.require("via", "the gateway of a default route")
            }
        } else {
            let expected = "expected \"default\", or an address with or without its prefix's length"
            reader.report(.invalid, "to", "\(expected), found \(quoted(text))")
        }
        return reader.issues.count == before ? route : nil
    }
}

/// Whether adapters can all be had together.
private struct NetworkCheck {
    private struct RouteKey: Hashable {
        var destination: IPPrefix?
        var isIPv4: Bool
        var metric: UInt32
    }

    private var matches: [InterfaceSettings.Match] = []
    private var names: Set<String> = []
    private var routes: Set<RouteKey> = []

    mutating func add(_ interface: InterfaceSettings, _ reader: ObjectReader) {
        if matches.contains(interface.match) {
            return reader.issues.report(.invalid, reader.path, "it is the adapter of another entry, too")
        }
        matches.append(interface.match)
        var name = interface.name
        if name == nil, case .name(let own) = interface.match { name = own }
        if let name, !names.insert(name).inserted {
            reader.issues.report(.invalid, reader.path, "another adapter is called \(quoted(name)), too")
        }
        for route in interface.routes {
            let isIPv4 = (route.gateway ?? route.destination?.address)?.isIPv4 ?? true
            let metric = route.metric ?? (isIPv4 ? 0 : RouteSettings.standardMetric6)
            if !routes.insert(RouteKey(destination: route.destination, isIPv4: isIPv4, metric: metric)).inserted {
                let destination = route.destination?.text ?? "default"
                reader.report(.invalid, "routes", "another route to \(destination) has the same metric")
            }
        }
    }
}

/// What keeps `text` from being the name of an adapter; nil if nothing does.
public func interfaceNameProblem(_ text: String) -> String? {
    if text == "lo" { return "the loopback device is no adapter" }
    let bytes = Array(text.utf8)
    let isPattern = bytes.contains { $0 == UInt8(ascii: "*") || $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "[") }
    if isPattern { return "patterns are not honoured, found \(quoted(text))" }
    // IFNAMSIZ counts the terminating NUL; "/" would be of a path in /sys, ":" of an alias, and "%" of a pattern of the kernel's.
    let isName =
        (1...15).contains(bytes.count) && text != "." && text != ".."
        && bytes.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":") && $0 != UInt8(ascii: "%") }
    return isName ? nil : "expected an adapter's name of 1 to 15 characters, found \(quoted(text))"
}

/// Six bytes in hexadecimal with colons between them.
private func hardwareAddress(_ text: String) -> [UInt8]? {
    var bytes: [UInt8] = []
    for part in text.utf8.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false) {
        guard part.count == 2, let byte = UInt8(String(decoding: Array(part), as: UTF8.self), radix: 16), !part.contains(UInt8(ascii: "+"))
        else { return nil }
        bytes.append(byte)
    }
    return bytes.count == 6 ? bytes : nil
}

extension IPAddress {
    /// An address that one host can have: not unspecified, not multicast, not IPv4's broadcast.
    var isHost: Bool {
        if isUnspecified { return false }
        return isIPv4 ? bytes[0] < 224 || bytes[0] >= 240 && bytes.contains { $0 != 255 } : bytes[0] != 0xFF
    }

    fileprivate var prefix: IPPrefix? { IPPrefix(self, length: bitWidth) }
}

extension ObjectReader {
    /// netplan's default is taken: what is meant by it is set up here.
    fileprivate func refuseRenderer() { refuse("renderer", but: .string("networkd"), "not honoured: PID 1 itself sets the adapters up") }

    /// Refuses a property for all it can say but `taken`; unlike ``refuse(_:_:)`` also for `false` and the like.
    fileprivate func refuse(_ name: String, but taken: JSONValue?, _ reason: String) {
        if let value = value(name), value != taken { report(.unsupported, name, reason) }
    }

    /// An array of at most `limit` elements.
    fileprivate func bounded(_ name: String, _ limit: Int) -> [JSONValue]? {
        guard let elements = array(name) else { return nil }
        if elements.count <= limit { return elements }
        report(.invalid, name, "expected at most \(limit) elements, found \(elements.count)")
        return nil
    }
}
