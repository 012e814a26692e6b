import ContainerSpec
import TestSupport
import Testing

@Suite struct NetworkDecodingTests {
    private func network(_ members: String) -> String { document(#""tether": {"network": {\#(members)}}"#) }

    /// A configuration with one adapter.
    private func adapter(_ members: String, _ name: String = "eth0") -> String {
        network(#""version": 2, "ethernets": {"\#(name)": {\#(members)}}"#)
    }

    private func read(_ members: String) throws -> InterfaceSettings {
        let interfaces = try #require(try decode(adapter(members)).tether.network).interfaces
        #expect(interfaces.count == 1)
        return try #require(interfaces.first)
    }

    @Test(
        "what asks for nothing has no adapters",
        arguments: [
            "", #""network": {}"#, #""network": null"#, #""network": {"version": 2}"#,
            #""network": {"version": 2, "ethernets": {}, "bonds": {}}"#, #""network": {"version": 2, "ethernets": {"eth0": null}}"#,
        ])
    func nothing(_ members: String) throws { #expect(try decode(document("\"tether\": {\(members)}")).tether.network == nil) }

    @Test("all that is honoured")
    func everything() throws {
        let spec = try decode(
            network(
                #"""
                "version": 2, "renderer": "networkd", "ethernets": {
                    "lan": {
                        "match": {"macaddress": "00:0C:29:ab:cd:ef"}, "set-name": "front.1", "dhcp4": true,
                        "dhcp4-overrides": {"use-routes": false, "use-dns": true, "use-ntp": false},
                        "addresses": ["192.0.2.7/24", "2001:db8::7/64"], "gateway6": "fe80::1",
                        "routes": [
                            {"to": "default", "via": "192.0.2.1", "metric": 50, "on-link": false, "type": "unicast", "table": 254},
                            {"to": "10.1.2.3/8", "via": "192.0.2.9", "scope": "global"}, {"to": "198.51.100.7", "scope": "link"},
                            {"to": "2001:db8:1::/48", "via": "2001:db8::1", "metric": 4294967295}
                        ],
                        "nameservers": {"addresses": ["192.0.2.53", "2001:db8::53", "192.0.2.53"], "search": ["example.com", "corp"]},
                        "mtu": 9000, "optional": true, "accept-ra": true, "dhcp6": false, "link-local": ["ipv6"], "dhcp-identifier": "duid"
                    },
                    "eth1": {}
                }
                """#))
        var lan = InterfaceSettings(id: "lan", match: .macAddress([0, 0x0C, 0x29, 0xAB, 0xCD, 0xEF]))
        lan.name = "front.1"
        lan.usesDHCP = true
        lan.takesDHCPRoutes = false
        lan.addresses = try ["192.0.2.7/24", "2001:db8::7/64"].map { try #require(IPPrefix($0)) }
        lan.routes = [
            RouteSettings(to: nil, via: IPAddress("fe80::1")), RouteSettings(to: nil, via: IPAddress("192.0.2.1")),
            RouteSettings(to: IPPrefix("10.0.0.0/8"), via: IPAddress("192.0.2.9")),
            RouteSettings(to: IPPrefix("198.51.100.7/32"), via: nil),
            RouteSettings(to: IPPrefix("2001:db8:1::/48"), via: IPAddress("2001:db8::1")),
        ]
        lan.routes[1].metric = 50
        lan.routes[4].metric = .max
        lan.nameservers = try ["192.0.2.53", "2001:db8::53"].map { try #require(IPAddress($0)) }
        lan.searchDomains = ["example.com", "corp"]
        lan.mtu = 9000
        lan.isOptional = true
        #expect(spec.tether.network?.interfaces == [lan, InterfaceSettings(id: "eth1", match: .name("eth1"))])
    }

    @Test(
        "the ways to say a default route",
        arguments: [
            #""gateway4": "10.0.0.1""#, #""routes": [{"to": "default", "via": "10.0.0.1"}]"#,
            #""routes": [{"to": "0.0.0.0/0", "via": "10.0.0.1"}]"#,
            #""routes": [{"to": "0/0", "via": "10.0.0.1"}]"#, #""routes": [{"to": "10.9.9.9/0", "via": "10.0.0.1"}]"#,
        ])
    func defaultRoute(_ members: String) throws {
        #expect(try read(members).routes == [RouteSettings(to: nil, via: IPAddress("10.0.0.1"))])
    }

    @Test func matches() throws {
        #expect(try read(#""match": {"name": "ens192"}, "set-name": "eth0""#).match == .name("ens192"))
        #expect(try read(#""match": {"macaddress": "ff:FF:00:01:02:03", "name": ""}"#).match == .macAddress([255, 255, 0, 1, 2, 3]))
        // Names that change places.
        let both = #""a": {"match": {"name": "eth0"}, "set-name": "eth1"}, "b": {"match": {"name": "eth1"}, "set-name": "eth0"}"#
        #expect(try decode(network(#""version": 2, "ethernets": {\#(both)}"#)).tether.network?.interfaces.count == 2)
    }

    @Test(
        "what is wrong with the whole",
        arguments: [
            (#""ethernets": {"eth0": {}}"#, "version"), (#""version": 1, "ethernets": {}"#, "version"), (#""version": "2""#, "version"),
            (#""version": 2, "renderer": "NetworkManager""#, "renderer"), (#""version": 2, "ethernets": []"#, "ethernets"),
            (#""version": 2, "ethernets": {"eth0": true}"#, "ethernets.eth0"),
            (#""version": 2, "bonds": {"bond0": {"interfaces": ["eth0"]}}"#, "bonds"),
            (#""version": 2, "bridges": {"br0": {"dhcp4": true}}"#, "bridges"),
            (#""version": 2, "vlans": {"v": {"id": 1}}"#, "vlans"), (#""version": 2, "wifis": {"wl0": {"dhcp4": true}}"#, "wifis"),
            (#""version": 2, "tunnels": {"t": {"mode": "gre"}}"#, "tunnels"),
            (#""version": 2, "openvswitch": {"protocols": ["OpenFlow13"]}"#, "openvswitch"),
            (#""version": 2, "network": {"version": 2}"#, "network"), (#""version": 2, "config": []"#, "config"),
            (#""version": 2, "ethernets": {"eth0": {}, "x": {"match": {"name": "eth0"}}}"#, "ethernets.x"),
            (#""version": 2, "ethernets": {"eth0": {}, "x": {"match": {"name": "eth1"}, "set-name": "eth0"}}"#, "ethernets.x"),
            (
                #""version": 2, "ethernets": {"a": {"match": {"macaddress": "00:00:00:00:00:0a"}}, "b": {"match": {"macaddress": "00:00:00:00:00:0A"}}}"#,
                "ethernets.b"
            ),
            (#""version": 2, "ethernets": {"eth0": {"gateway4": "10.0.0.1"}, "eth1": {"gateway4": "10.1.0.1"}}"#, "ethernets.eth1.routes"),
            (
                #""version": 2, "ethernets": {"eth0": {"gateway6": "fe80::1"}, "eth1": {"routes": [{"to": "::/0", "via": "fe80::2", "metric": 512}]}}"#,
                "ethernets.eth1.routes"
            ),
        ])
    func wrong(_ members: String, _ path: String) {
        let json = network(members)
        #expect(paths(json) == ["tether.network." + path], "\(refusal(json))")
    }

    @Test(
        "what is wrong with an adapter",
        arguments: [
            (#""match": {"driver": "vmxnet3"}"#, "match.driver"), (#""match": {}"#, "match"), (#""match": {"name": "en*"}"#, "match.name"),
            (#""match": {"name": "eth0", "macaddress": "00:50:56:01:02:03"}"#, "match.name"), (#""match": "eth0""#, "match"),
            (#""match": {"macaddress": "00:50:56:01:02"}"#, "match.macaddress"),
            (#""match": {"macaddress": "00-50-56-01-02-03"}"#, "match.macaddress"),
            (#""match": {"macaddress": "00:50:56:01:02:+3"}"#, "match.macaddress"),
            (#""match": {"macaddress": "0:50:56:01:02:003"}"#, "match.macaddress"),
            (#""match": {"name": "lo"}"#, "match.name"), (#""match": {"path": "pci-0", "name": "a"}, "dhcp4": true"#, "match.path"),
            (#""set-name": "lan""#, "set-name"), (#""match": {"name": "eth0"}, "set-name": "sixteen_letters_""#, "set-name"),
            (#""match": {"name": "eth0"}, "set-name": "a/b""#, "set-name"), (#""match": {"name": "eth0"}, "set-name": "lo""#, "set-name"),
            (#""dhcp4": "yes""#, "dhcp4"), (#""dhcp6": true"#, "dhcp6"), (#""accept-ra": false"#, "accept-ra"),
            (#""link-local": []"#, "link-local"),
            (#""dhcp-identifier": "mac""#, "dhcp-identifier"), (#""wakeonlan": true"#, "wakeonlan"),
            (#""macaddress": "00:50:56:01:02:03""#, "macaddress"),
            (#""generic-receive-offload": false"#, "generic-receive-offload"),
            (#""routing-policy": [{"from": "10.0.0.0/8", "table": 7}]"#, "routing-policy"),
            (#""dhcp4-overrides": {"use-dns": false}"#, "dhcp4-overrides.use-dns"),
            (#""dhcp4-overrides": {"route-metric": 0}"#, "dhcp4-overrides.route-metric"),
            (#""dhcp4-overrides": {"use-routes": 1}"#, "dhcp4-overrides.use-routes"),
            (#""dhcp4-overrides": {"x": 1}"#, "dhcp4-overrides.x"),
            (#""activation-mode": "manual""#, "activation-mode"), (#""dhpc4": true"#, "dhpc4"), (#""optional": 1"#, "optional"),
            (#""renderer": "sriov""#, "renderer"), (#""mtu": 67"#, "mtu"), (#""mtu": 65536"#, "mtu"),
            (#""mtu": 1279, "addresses": ["2001:db8::1/64"]"#, "mtu"),
            (#""addresses": ["10.0.0.1"]"#, "addresses[0]"), (#""addresses": ["10.0.0.1/24", "10.0.0.1/16"]"#, "addresses[1]"),
            (#""addresses": ["10.0.0.1/33"]"#, "addresses[0]"), (#""addresses": ["0.0.0.0/24"]"#, "addresses[0]"),
            (#""addresses": ["::/64"]"#, "addresses[0]"),
            (#""addresses": ["224.0.0.1/24"]"#, "addresses[0]"), (#""addresses": ["255.255.255.255/24"]"#, "addresses[0]"),
            (#""addresses": ["ff02::1/64"]"#, "addresses[0]"), (#""addresses": ["10.0.0.1/0"]"#, "addresses[0]"),
            (#""addresses": ["fe80::1%eth0/64"]"#, "addresses[0]"),
            (#""addresses": [{"10.0.0.1/24": {"label": "x"}}]"#, "addresses[0]"), (#""addresses": "10.0.0.1/24""#, "addresses"),
            (#""addresses": [7]"#, "addresses[0]"),
            (#""gateway4": "10.0.0""#, "gateway4"), (#""gateway4": "fe80::1""#, "gateway4"), (#""gateway6": "10.0.0.1""#, "gateway6"),
            (#""gateway4": 1"#, "gateway4"),
            (#""gateway4": "0.0.0.0""#, "gateway4"),
            (#""gateway4": "10.0.0.1", "routes": [{"to": "default", "via": "10.0.0.2"}]"#, "routes"),
            (#""routes": {}"#, "routes"), (#""routes": [1]"#, "routes[0]"), (#""routes": [{"via": "10.0.0.1"}]"#, "routes[0].to"),
            (#""routes": [{"to": "default"}]"#, "routes[0].via"), (#""routes": [{"to": "::/0"}]"#, "routes[0].via"),
            (#""routes": [{"to": "10.0.0.0/40", "via": "10.0.0.1"}]"#, "routes[0].to"),
            (#""routes": [{"to": "internet", "via": "10.0.0.1"}]"#, "routes[0].to"),
            (#""routes": [{"to": "10.0.0.0/8", "via": "fe80::1"}]"#, "routes[0].via"),
            (#""routes": [{"to": "::/0", "via": "10.0.0.1"}]"#, "routes[0].via"),
            (#""routes": [{"to": "10.0.0.0/8", "via": "nowhere"}]"#, "routes[0].via"),
            (#""routes": [{"to": "10.0.0.0/8", "via": "0.0.0.0"}]"#, "routes[0].via"),
            (#""routes": [{"to": "10.0.0.0/8", "metric": -1}]"#, "routes[0].metric"),
            (#""routes": [{"to": "10.0.0.0/8", "metric": 4294967296}]"#, "routes[0].metric"),
            (#""routes": [{"to": "10.0.0.0/8", "scope": "host"}]"#, "routes[0].scope"),
            (#""routes": [{"to": "10.0.0.0/8", "scope": "global"}]"#, "routes[0].scope"),
            (#""routes": [{"to": "10.0.0.0/8", "via": "10.0.0.1", "on-link": true}]"#, "routes[0].on-link"),
            (#""routes": [{"to": "10.0.0.0/8", "type": "blackhole"}]"#, "routes[0].type"),
            (#""routes": [{"to": "10.0.0.0/8", "table": 7}]"#, "routes[0].table"),
            (#""routes": [{"to": "10.0.0.0/8", "from": "10.0.0.9"}]"#, "routes[0].from"),
            (#""routes": [{"to": "10.0.0.0/8", "gw": "10.0.0.9"}]"#, "routes[0].gw"),
            (#""routes": [{"to": "10.0.0.0/8"}, {"to": "10.1.0.0/8", "metric": 0}]"#, "routes"),
            (#""nameservers": ["10.0.0.1"]"#, "nameservers"), (#""nameservers": {"addresses": ["dns"]}"#, "nameservers.addresses[0]"),
            (#""nameservers": {"addresses": ["0.0.0.0"]}"#, "nameservers.addresses[0]"),
            (#""nameservers": {"search": ["a b"]}"#, "nameservers.search[0]"),
            (#""nameservers": {"search": ["a\nnameserver 6.6.6.6"]}"#, "nameservers.search[0]"),
            (#""nameservers": {"search": [1]}"#, "nameservers.search[0]"),
            (#""nameservers": {"search": "a"}"#, "nameservers.search"), (#""nameservers": {"options": ["x"]}"#, "nameservers.options"),
        ])
    func wrongAdapter(_ members: String, _ path: String) {
        let json = adapter(members)
        #expect(paths(json) == ["tether.network.ethernets.eth0." + path], "\(refusal(json))")
    }

    @Test("names of adapters", arguments: ["lo", "", ".", "..", "en*", "a/b", "eth0:1", "a b", "a%d", "ä", "sixteen_letters_", "a\\nb"])
    func names(_ name: String) {
        #expect(issues(adapter("", name)).count == 1, "\(refusal(adapter("", name)))")
        // Beside a match it is a word of the configuration's own, in which less is wrong.
        let matched = issues(adapter(#""match": {"name": "eth0"}"#, name)).count
        #expect(matched == (["lo", "sixteen_letters_"].contains(name) ? 0 : 1))
    }

    @Test func bounds() {
        func list(_ count: Int, _ element: (Int) -> String) -> String { (0..<count).map(element).joined(separator: ", ") }
        func adapters(_ count: Int) -> String { network("\"version\": 2, \"ethernets\": {\(list(count) { "\"eth\($0)\": {}" })}") }
        func addresses(_ count: Int) -> String { adapter("\"addresses\": [\(list(count) { "\"10.0.0.\($0 + 1)/8\"" })]") }
        func routes(_ count: Int) -> String { adapter("\"routes\": [\(list(count) { "{\"to\": \"10.0.0.0/8\", \"metric\": \($0)}" })]") }
        func servers(_ count: Int) -> String { adapter("\"nameservers\": {\"addresses\": [\(list(count) { "\"10.0.0.\($0 + 1)\"" })]}") }
        func search(_ count: Int) -> String { adapter("\"nameservers\": {\"search\": [\(list(count) { "\"d\($0)\"" })]}") }
        let adapterPath = "tether.network.ethernets.eth0."
        for (make, limit, path) in [
            (adapters, 16, "tether.network.ethernets"), (addresses, 64, adapterPath + "addresses"), (routes, 256, adapterPath + "routes"),
            (servers, 16, adapterPath + "nameservers.addresses"), (search, 16, adapterPath + "nameservers.search"),
        ] {
            #expect(issues(make(limit)).isEmpty, "\(refusal(make(limit)))")
            #expect(paths(make(limit + 1)) == [path])
        }
    }

    @Test func messages() {
        #expect(
            refusal(adapter(#""dhcp6": true, "addresses": ["10.0.0.1"], "routes": [{"to": "default"}]"#))
                == "tether.network.ethernets.eth0.addresses[0]: expected an address of a host and its prefix's length, "
                + "such as \"192.0.2.7/24\" or \"2001:db8::7/64\", found \"10.0.0.1\"; "
                + "tether.network.ethernets.eth0.routes[0].via: required: the gateway of a default route; "
                + "tether.network.ethernets.eth0.dhcp6: not honoured: IPv6 addresses are those of \"addresses\" "
                + "and the kernel's own, by autoconfiguration")
        #expect(refusal(adapter("", "en p0")).hasPrefix(#"tether.network.ethernets["en p0"]: without "match" it is an adapter's name: "#))
    }

    @Test("any settings, written as JSON, are read as they were")
    func roundTrip() throws {
        var random = RandomNetwork(seed: 2026)
        for _ in 0..<300 {
            let interfaces = random.interfaces()
            let json = network("\"version\": 2, \"ethernets\": {\(interfaces.map(RandomNetwork.json).joined(separator: ", "))}")
            #expect(try decode(json).tether.network?.interfaces ?? [] == interfaces, "\(json)")
        }
    }
}

/// Settings that can be had together, by a generator that can be repeated.
private struct RandomNetwork: RandomNumberGenerator {
    private var generator: SeededGenerator

    init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

    mutating func next() -> UInt64 { generator.next() }

    private mutating func chance() -> Bool { Bool.random(using: &self) }
    private mutating func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }

    /// A host's, with `number` in it, so that two are not the same.
    private mutating func address(_ number: Int, isIPv4: Bool) -> IPAddress? {
        var bytes = (0..<(isIPv4 ? 4 : 16)).map { _ in UInt8.random(in: 0...255, using: &self) }
        bytes[0] = isIPv4 ? 10 : 0x20
        bytes[1] = UInt8(truncatingIfNeeded: number)
        if !isIPv4, chance() { for index in 4..<self.number(5...15) { bytes[index] = 0 } }
        return IPAddress(bytes: bytes)
    }

    private mutating func prefix(_ number: Int, isIPv4: Bool) -> IPPrefix? {
        let address = address(number, isIPv4: isIPv4)
        return address.flatMap { IPPrefix($0, length: self.number(16...$0.bitWidth)) }
    }

    private mutating func interface(_ index: Int) -> InterfaceSettings {
        var interface = InterfaceSettings(id: "eth\(index)", match: .name("eth\(index)"))
        if chance() {
            interface = InterfaceSettings(
                id: "lan-\(index)", match: chance() ? .name("ens\(index)") : .macAddress([0, 0x0C, 0x29, 0xAB, 0, UInt8(index)]))
            if chance() { interface.name = "lan\(index)" }
        }
        interface.usesDHCP = chance()
        interface.takesDHCPRoutes = chance()
        interface.isOptional = chance()
        if chance() { interface.mtu = UInt32(number(1280...65535)) }
        interface.addresses = (0..<number(0...3)).compactMap { prefix($0, isIPv4: chance()) }
        for route in 0..<number(0...4) {
            let isIPv4 = chance()
            let destination = chance() ? prefix(index * 8 + route, isIPv4: isIPv4)?.network : nil
            let gateway = destination != nil && chance() ? nil : address(route, isIPv4: isIPv4)
            var settings = RouteSettings(to: destination, via: gateway)
            // Two default routes differ in it.
            if destination == nil || chance() { settings.metric = UInt32(1 + index * 8 + route) }
            interface.routes.append(settings)
        }
        interface.nameservers = (0..<number(0...3)).compactMap { address($0, isIPv4: chance()) }
        interface.searchDomains = (0..<number(0...2)).map { "d\($0).example" }
        return interface
    }

    mutating func interfaces() -> [InterfaceSettings] { (0..<number(0...5)).map { interface($0) } }

    static func json(_ interface: InterfaceSettings) -> String {
        var members: [String] = []
        switch interface.match {
        case .name(let name) where name == interface.id: break
        case .name(let name): members.append(#""match": {"name": "\#(name)"}"#)
        case .macAddress(let bytes):
            let text = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
            members.append(#""match": {"macaddress": "\#(text)"}"#)
        case .pciSlot: break
        }
        if let name = interface.name { members.append(#""set-name": "\#(name)""#) }
        members.append(#""dhcp4": \#(interface.usesDHCP), "dhcp4-overrides": {"use-routes": \#(interface.takesDHCPRoutes)}"#)
        members.append(#""optional": \#(interface.isOptional)"#)
        if let mtu = interface.mtu { members.append(#""mtu": \#(mtu)"#) }
        func list(_ texts: [String]) -> String { "[" + texts.map { "\"\($0)\"" }.joined(separator: ", ") + "]" }
        members.append(#""addresses": \#(list(interface.addresses.map { $0.text }))"#)
        let servers = list(interface.nameservers.map { $0.text })
        members.append(#""nameservers": {"addresses": \#(servers), "search": \#(list(interface.searchDomains))}"#)
        let routes = interface.routes.map { route in
            var text = #"{"to": "\#(route.destination?.text ?? "default")""#
            if let gateway = route.gateway { text += #", "via": "\#(gateway.text)""# }
            if let metric = route.metric { text += #", "metric": \#(metric)"# }
            return text + "}"
        }
        members.append(#""routes": [\#(routes.joined(separator: ", "))]"#)
        return #""\#(interface.id)": {\#(members.joined(separator: ", "))}"#
    }
}
