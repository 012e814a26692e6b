import ContainerSpec
import Foundation
import Testing
import VIC

@Suite("VIC's networks")
struct NetworkTests {
    /// Reads the keys of some networks, each with its own below `networks|<name>`.
    private func plan(_ networks: [(String, [(String, String)])]) throws -> VICPlan {
        let names = networks.map { $0.0 }.joined(separator: "|")
        let keys = networks.flatMap { network in
            // In a key that the guest cannot write there is no dot.
            network.1.map { ("guestinfo.vice./networks|\(network.0.replacingOccurrences(of: ".", with: "/"))\($0.0)", $0.1) }
        }
        return try #require(try minimalKeys(more: [("guestinfo.vice./networks", names)] + keys).read()).config.plan()
    }

    private func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }
    private func prefix(_ text: String) throws -> IPPrefix { try #require(IPPrefix(text)) }

    private func base64(_ bytes: [UInt8]) -> String { Data(bytes).base64EncodedString() }

    /// The keys of an address and its network's mask.
    private func range(_ name: String, _ text: String) throws -> [(String, String)] {
        let prefix = try prefix(text)
        return [(name + "/IP", base64(prefix.address.bytes)), (name + "/Mask", base64(prefix.mask))]
    }

    private let id = ("/Common/id", "1184")
    private let isDefault = ("/network/default", "true")

    @Test("DHCP: what the portlayer writes for a container network")
    func dhcp() throws {
        let plan = try #require(try KeyStore(portlayerKeys).read()).config.plan()
        var expected = InterfaceSettings(id: "dhcpnet", match: .pciSlot(0x4A0))
        expected.usesDHCP = true
        // The gateway and the name server are the configuration's.
        expected.takesDHCPRoutes = false
        expected.routes = [RouteSettings(to: nil, via: try address("172.16.0.1"))]
        expected.nameservers = [try address("172.16.0.2")]
        #expect(plan.spec.tether.network?.interfaces == [expected])
        let endpoint = try #require(plan.endpoints.first)
        #expect(
            plan.endpoints.count == 1 && endpoint.network == "dhcpnet" && endpoint.interface == "dhcpnet" && endpoint.addressing == .dhcp)
        #expect(endpoint.assignment([]) == nil)
    }

    @Test("the routes that DHCP gives are taken on a network that is the default one, and has no gateway of its own")
    func dhcpRoutes() throws {
        let plain = try plan([("a", [id])]).spec.tether.network?.interfaces.first
        #expect(plain?.usesDHCP == true && plain?.takesDHCPRoutes == false)
        let main = try plan([("a", [id, isDefault])]).spec.tether.network?.interfaces.first
        #expect(main?.usesDHCP == true && main?.takesDHCPRoutes == true && main?.routes == [])
    }

    @Test("A45: an address of the configuration's, its gateway, its name servers, and what the interface is called")
    func fixed() throws {
        let keys =
            try [id, isDefault, ("/Common/name", "eth0"), ("/static", "true"), ("/network/dns", "0")] + range("/ip", "10.2.0.5/16")
            + range("/network/gateway", "10.2.0.1/16") + [("/network/dns|0", "AAAAAAAAAAAAAP//CAgICA==")]
        // The VCH gives addresses on a bridge network without calling them static.
        for keys in [keys, keys.filter { $0.0 != "/static" }] {
            let plan = try plan([("web", keys)])
            var expected = InterfaceSettings(id: "web", match: .pciSlot(1184))
            expected.name = "eth0"
            expected.takesDHCPRoutes = false
            expected.addresses = [try prefix("10.2.0.5/16")]
            expected.routes = [RouteSettings(to: nil, via: try address("10.2.0.1"))]
            expected.nameservers = [try address("8.8.8.8")]
            #expect(plan.spec.tether.network?.interfaces == [expected] && plan.notHonoured == ["firewall"])
            #expect(plan.files.hosts.hasSuffix("10.2.0.5\tweb.localhost\n"))
            #expect(plan.files.resolver == "nameserver 8.8.8.8\noptions timeout:15 attempts:5\n")
        }
    }

    @Test("an address 0.0.0.0 that is static is seen to elsewhere: the adapter is brought up; one that is not static asks DHCP")
    func external() throws {
        let unspecified = [("/ip/IP", "AAAAAA=="), ("/ip/Mask", "AAAAAA==")]
        let plan = try plan([("web", [id, isDefault, ("/static", "true")] + unspecified + range("/network/gateway", "10.2.0.1/16"))])
        let interface = try #require(plan.spec.tether.network?.interfaces.first)
        #expect(!interface.usesDHCP && interface.addresses.isEmpty && interface.routes.isEmpty)
        #expect(plan.endpoints.first?.addressing == .external && plan.endpoints.first?.assignment([]) == nil)
        #expect(!plan.files.hosts.contains("web") && plan.files.resolver == "options timeout:15 attempts:5\n")
        let dynamic = try self.plan([("web", [id] + unspecified)])
        #expect(dynamic.spec.tether.network?.interfaces.first?.usesDHCP == true && dynamic.endpoints.first?.addressing == .dhcp)
    }

    @Test("networks on one adapter share it; those that are internal come first; the default route goes outside")
    func several() throws {
        let gateway = try range("/network/gateway", "10.2.0.1/16")
        let plan = try plan([
            (
                "a",
                [("/Common/id", "1216"), isDefault, ("/Common/name", "out")] + range("/ip", "192.0.2.7/24")
                    + range("/network/gateway", "192.0.2.1/24")
            ),
            ("b", [id, isDefault, ("/internal", "true")] + range("/ip", "10.2.0.5/16") + gateway),
            ("c", [id, ("/network/dns", "0"), ("/network/dns|0", "CgIAAg==")]),
            ("d", [("/Common/id", "1216"), ("/Common/name", "out")] + range("/ip", "192.0.2.8/24")),
        ])
        let interfaces = try #require(plan.spec.tether.network?.interfaces)
        #expect(interfaces.map { $0.id } == ["b", "a"] && interfaces.map { $0.match } == [.pciSlot(1184), .pciSlot(1216)])
        #expect(interfaces[0].usesDHCP && interfaces[0].addresses.map { $0.text } == ["10.2.0.5/16"])
        #expect(interfaces[0].nameservers == [try address("10.2.0.2")])
        #expect(interfaces[1].addresses.map { $0.text } == ["192.0.2.7/24", "192.0.2.8/24"] && interfaces[1].name == "out")
        #expect(interfaces[1].routes == [RouteSettings(to: nil, via: try address("192.0.2.1"))])
        var second = RouteSettings(to: nil, via: try address("10.2.0.1"))
        second.metric = 1000
        #expect(interfaces[0].routes == [second])
        #expect(plan.endpoints.map { $0.network } == ["a", "b", "c", "d"] && plan.endpoints.map { $0.interface } == ["a", "b", "b", "a"])
        let lease = VICLease(interface: "b", address: try prefix("10.2.0.99/16"), gateway: nil, nameservers: [])
        #expect(
            plan.endpoints.map { $0.assignment([lease])?.address.text } == ["192.0.2.7/24", "10.2.0.5/16", "10.2.0.99/16", "192.0.2.8/24"])
        // The lease runs out, and takes nothing of its neighbour's with it.
        let left = try [prefix("10.2.0.5/16")]
        #expect(plan.endpoints.map { $0.assignment([], on: left)?.address.text } == [nil, "10.2.0.5/16", nil, nil])
        #expect(plan.endpoints.map { $0.assignment([lease], on: left)?.address.text } == [nil, "10.2.0.5/16", nil, nil])
    }

    @Test("a default route that DHCP gives outside goes before one inside, and clashes with none")
    func behindDHCP() throws {
        let inside = try [isDefault, ("/internal", "true")] + range("/network/gateway", "10.2.0.1/16")
        let plan = try plan([
            ("out", [("/Common/id", "1216"), isDefault]), ("in", try [id] + inside + range("/ip", "10.2.0.5/16")),
            ("in2", try [("/Common/id", "1248")] + inside + range("/ip", "10.2.0.6/16")),
        ])
        let interfaces = try #require(plan.spec.tether.network?.interfaces)
        #expect(interfaces.first { $0.id == "out" }?.takesDHCPRoutes == true)
        // A DHCP server's have 100 and the adapter's position.
        #expect(interfaces.first { $0.id == "in" }?.routes.map { $0.metric } == [1000])
        #expect(interfaces.first { $0.id == "in2" }?.routes.map { $0.metric } == [2000])
    }

    @Test("what is reached through the gateway of a network that is not the default one")
    func destinations() throws {
        let gateway = try range("/network/gateway", "10.2.0.1/16")
        let list =
            try [("/network/destinations", "1")] + range("/network/destinations|0", "172.16.9.9/12")
            + range("/network/destinations|1", "198.51.100.0/24")
        let network = try [id] + range("/ip", "10.2.0.5/16") + list
        let plan = try plan([("web", network + gateway)])
        let expected = try ["172.16.0.0/12", "198.51.100.0/24"].map {
            var route = RouteSettings(to: try prefix($0), via: try address("10.2.0.1"))
            // What the kernel says against it does not keep the container from starting.
            route.isOptional = true
            return route
        }
        #expect(plan.spec.tether.network?.interfaces.first?.routes == expected)
        // VIC looks at the destinations only where the gateway is not the default route.
        let main = try self.plan([("web", network + gateway + [isDefault])]).spec.tether.network?.interfaces.first
        #expect(main?.routes == [RouteSettings(to: nil, via: try address("10.2.0.1"))])
        let without = try self.plan([("web", network)])
        #expect(without.spec.tether.network?.interfaces.first?.routes == [])
        #expect(without.warnings.map { $0.path }.contains("guestinfo.vice./networks|web/network/destinations"))
    }

    @Test(
        "what makes no adapter, and what of it is not taken, is a warning with its key",
        arguments: [
            ([("/Common/id", "eth0")], "/Common/id", 0), ([("/Common/id", "")], "/Common/id", 0), ([("/Common/id", "0")], "/Common/id", 0),
            ([("/Common/id", "8192")], "/Common/id", 0), ([("/Common/id", "-32")], "/Common/id", 0),
            ([("/Common/id", "1184"), ("/Common/name", "a/b")], "/Common/name", 1),
            ([("/Common/id", "1184"), ("/Common/name", "lo")], "/Common/name", 1),
            ([("/Common/id", "1184"), ("/ip/IP", "CgIABQ==")], "/ip/Mask", 1),
            ([("/Common/id", "1184"), ("/ip/IP", "CgIABQ=="), ("/ip/Mask", "/wD/AA==")], "/ip/Mask", 1),
        ] as [([(String, String)], String, Int)])
    func odd(keys: [(String, String)], path: String, adapters: Int) throws {
        let plan = try plan([("web", keys)])
        #expect(plan.spec.tether.network?.interfaces.count ?? 0 == adapters && plan.endpoints.count == adapters)
        #expect(plan.warnings.filter { $0.kind == .invalid }.map { $0.path } == ["guestinfo.vice./networks|web" + path])
        #expect(
            plan.spec.tether.network?.interfaces.first?.addresses ?? [] == [] && plan.spec.tether.network?.interfaces.first?.name == nil)
    }

    @Test func bounds() throws {
        let many = try plan((0..<40).map { ("n\($0)", [("/Common/id", "\($0 + 1)")]) })
        #expect(many.spec.tether.network?.interfaces.count == NetworkSettings.interfaceLimit && many.endpoints.count == 16)
        let shared = try plan(
            (0..<80).map { index in
                let network = [("/network/dns", "0"), ("/network/dns|0", base64([10, 0, 1, UInt8(index)]))]
                return ("n\(index)", try [id] + range("/ip", "10.0.0.\(index + 1)/24") + network)
            })
        let interface = try #require(shared.spec.tether.network?.interfaces.first)
        #expect(interface.addresses.count == 64 && interface.nameservers.count == 16 && shared.endpoints.count == 80)
    }

    @Test(
        "A49: whatever a trust level would close is open, and the status says so",
        arguments: [
            (0, [], true), (1, ["80/tcp"], true), (2, ["80/tcp"], false), (2, ["8080:80/tcp"], true), (3, [], true), (4, [], true),
            (5, [], true), (9, [], true),
        ]
            as [(Int, [String], Bool)])
    func firewall(level: Int, ports: [String], isClosed: Bool) throws {
        let list = ports.isEmpty ? [] : [("/ports", "\(ports.count - 1)"), ("/ports~", ports.joined(separator: "|"))]
        let plan = try plan([("web", [id, ("/network/TrustLevel", "\(level)")] + list)])
        #expect(plan.notHonoured == (isClosed ? ["firewall"] : []))
        #expect(plan.warnings.map { $0.path } == (isClosed ? ["guestinfo.vice./networks|web/network/TrustLevel"] : []))
    }

    // MARK: Results and files

    @Test("what a lease gave is told in VIC's keys, and read again")
    func results() throws {
        let plan = try plan([("net.one", [id, isDefault])])
        let endpoint = try #require(plan.endpoints.first)
        let lease = VICLease(
            interface: "net.one", address: try prefix("10.0.0.5/24"), gateway: try address("10.0.0.1"),
            nameservers: [try address("10.0.0.2")])
        let assignment = try #require(endpoint.assignment([lease]))
        let place = "guestinfo.vice..networks|net.one."
        #expect(
            endpoint.keyValues(assignment).map { "\($0.key)=\($0.value)" } == [
                place + "assigned.IP=CgAABQ==", place + "assigned.Mask=////AA==", place + "network.assigned.gateway.IP=CgAAAQ==",
                place + "network.assigned.gateway.Mask=////AA==", place + "network.assigned.dns|0=CgAAAg==",
                place + "network.assigned.dns=0",
            ])
        let store = minimalKeys(more: [("guestinfo.vice./networks", "net.one")])
        for pair in endpoint.keyValues(assignment) { store[pair.key] = pair.value }
        var read = try #require(try store.read(.all)?.config.networks.first)
        #expect(read.assigned.text == "10.0.0.5/24" && read.network.assignedGateway.text == "10.0.0.1/24")
        #expect(read.network.assignedNameservers.map { $0.text } == ["10.0.0.2"])
        // A lease that is over.
        for pair in endpoint.keyValues(nil) { store[pair.key] = pair.value }
        read = try #require(try store.read(.all)?.config.networks.first)
        #expect(
            read.assigned == VICAddressRange() && read.network.assignedGateway == VICAddressRange()
                && read.network.assignedNameservers == [])
    }

    @Test("the configuration's gateway and name servers go before those of DHCP, in the keys and in the files")
    func precedence() throws {
        let own = try [("/network/dns", "0"), ("/network/dns|0", "CgAANQ==")] + range("/network/gateway", "10.0.0.254/8")
        let lease = VICLease(
            interface: "web", address: try prefix("10.0.0.5/24"), gateway: try address("10.0.0.1"), nameservers: [try address("10.0.0.2")],
            searchDomains: ["corp.example", "no domain", "example.org"])
        let configured = try plan([("web", [id, isDefault] + own)])
        let endpoint = try #require(configured.endpoints.first)
        let assignment = try #require(endpoint.assignment([lease]))
        #expect(assignment.gateway?.text == "10.0.0.254" && assignment.nameservers.map { $0.text } == ["10.0.0.53"])
        #expect(endpoint.keyValues(assignment)[3].value == "/wAAAA==")
        #expect(configured.files.with([lease]).resolver.contains("nameserver 10.0.0.53\noptions"))

        let store = minimalKeys(more: [("guestinfo.vice./domainname", "example.org"), ("guestinfo.vice./networks", "web")])
        store["guestinfo.vice./networks|web/Common/id"] = "1184"
        let plan = try #require(try store.read()).config.plan()
        #expect(plan.files.resolver == "search example.org\noptions timeout:15 attempts:5\n" && !plan.files.hosts.contains("web"))
        var files = plan.files.with([lease])
        #expect(files.resolver == "search example.org corp.example\nnameserver 10.0.0.2\noptions timeout:15 attempts:5\n")
        #expect(files.hosts.hasSuffix("10.0.0.5\tweb.localhost\n") && files.hostname == plan.files.hostname)
        // A server that gives no name servers is behind a gateway that is one.
        var bare = lease
        bare.nameservers = []
        bare.searchDomains = []
        files = files.with([bare])
        #expect(files.resolver == "search example.org\nnameserver 10.0.0.1\noptions timeout:15 attempts:5\n")
        #expect(files.with([]) == plan.files)
    }
}
