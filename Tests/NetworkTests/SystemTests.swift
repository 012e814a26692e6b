import CLinux
import ContainerSpec
import Foundation
import Linux
import Testing

@testable import Network

/// What the kernel does of it. As root, in namespaces with a pair of interfaces that are each other's cable.
@Suite("Network: system", .serialized) struct SystemTests {
    @Test func interfacesBecomeAsTheyAreWanted() throws {
        try inNamespace {
            try busybox(["ip", "link", "add", "type", "veth"])
            var configurator = try Configurator()
            try configurator.switchOnLoopback()
            let links = try configurator.links()
            #expect(links.first?.name == "lo" && links.first?.isUp == true)
            let pair = links.filter { $0.name.hasPrefix("veth") }
            try #require(pair.count == 2)
            try busybox(["ip", "link", "set", "veth1", "up"])

            var lan = try wanted("lan", .macAddress(pair[0].macAddress)) {
                $0.name = "lan0"
                $0.mtu = 1400
                $0.addresses = [try ipPrefix("192.0.2.7/24"), try ipPrefix("2001:db8::7/64")]
                $0.routes = [
                    Route(to: nil, via: try ipAddress("192.0.2.1"), metric: nil, origin: .configuration),
                    Route(to: try ipPrefix("198.51.100.0/24"), via: nil, metric: 7, origin: .dhcp),
                    Route(to: try ipPrefix("2001:db8:9::/48"), via: try ipAddress("2001:db8::1"), metric: nil, origin: .configuration),
                ]
            }
            let reports = try apply([
                lan, WantedInterface(id: "wan", match: .name("eth9")), WantedInterface(id: "twice", match: .name("veth0")),
            ])
            #expect(reports.map { $0.outcome } == [.done, .missing, .missing], "\(reports)")
            #expect(reports[0].link?.name == "lan0")
            let address = try busybox(["ip", "addr", "show", "dev", "lan0"])
            for part in ["mtu 1400", "UP", "inet 192.0.2.7/24 brd 192.0.2.255", "inet6 2001:db8::7/64"] {
                #expect(address.contains(part), "\(address)")
            }
            // By then it can be used.
            #expect(!address.contains("2001:db8::7/64 scope global tentative"))
            let routes = try busybox(["ip", "route"]) + (try busybox(["ip", "-6", "route"]))
            for part in [
                "default via 192.0.2.1 dev lan0", "198.51.100.0/24 dev lan0 scope link  metric 7",
                "2001:db8:9::/48 via 2001:db8::1 dev lan0",
            ] {
                #expect(routes.contains(part), "\(routes)")
            }
            #expect(try Files.readText("/proc/thread-self/net/dev").contains("lan0"))

            // Again the same is no error and no change; then something else.
            lan.present = InterfaceParts(addresses: lan.addresses, routes: lan.routes)
            lan.knownIndex = reports[0].link?.index
            #expect(try apply([lan]).map { $0.outcome } == [.done])
            #expect(try busybox(["ip", "addr", "show", "dev", "lan0"]) == address)
            lan.addresses = [try ipPrefix("192.0.2.8/24")]
            lan.routes = [Route(to: nil, via: try ipAddress("192.0.2.2"), metric: nil, origin: .configuration)]
            #expect(try apply([lan]).map { $0.outcome } == [.done])
            let changed = try busybox(["ip", "addr", "show", "dev", "lan0"]) + (try busybox(["ip", "route"]))
            #expect(changed.contains("192.0.2.8/24") && changed.contains("default via 192.0.2.2"), "\(changed)")
            for part in ["192.0.2.7", "2001:db8::7", "198.51.100.0"] { #expect(!changed.contains(part), "\(changed)") }
        }
    }

    @Test func whatCannotBeDoneSaysWhy() throws {
        try inNamespace {
            try busybox(["ip", "link", "add", "type", "veth"])
            let far = try wanted("lan", .name("veth0")) {
                $0.addresses = [try ipPrefix("192.0.2.7/24")]
                $0.routes = [
                    Route(to: try ipPrefix("203.0.113.0/24"), via: nil, metric: nil, origin: .configuration),
                    Route(to: nil, via: try ipAddress("198.51.100.1"), metric: nil, origin: .configuration),
                ]
            }
            let reports = try apply([far, wanted("small", .name("veth1")) { $0.mtu = 60_000_000 }])
            #expect(
                reports[0].outcome
                    == .failed(
                        NetworkError(
                            "add route", "default via 198.51.100.1 to veth0", Errno(rawValue: ENETUNREACH), "Nexthop has invalid gateway")))
            #expect(reports[0].routesSet == [0] && reports[0].addressesSet == [0])
            guard case .failed(let error) = reports[1].outcome else { throw NetworkError("set MTU", "", "it is set") }
            #expect(error.operation == "set MTU" && error.object == "60000000 of veth1")

            // A route that another interface has is not taken from it, and not called ours.
            let both = try ["192.0.2.9/24", "192.0.2.10/24"].enumerated().map { position, text in
                try wanted("\(position)", .name("veth\(position)")) {
                    $0.addresses = [try ipPrefix(text)]
                    $0.routes = [Route(to: nil, via: try ipAddress("192.0.2.1"), metric: nil, origin: .configuration)]
                }
            }
            let second = try apply(both)
            #expect(second[0].outcome == .done)
            guard case .failed(let clash) = second[1].outcome else { throw NetworkError("add route", "", "twice") }
            #expect(clash.errno == .exists)
        }
    }

    @Test func whatALeaseAsksForInVainLeavesTheRest() throws {
        try inNamespace {
            try busybox(["ip", "link", "add", "type", "veth"])
            let lan = try wanted("lan", .name("veth0")) {
                $0.mtu = 60_000_000
                $0.isMTUOptional = true
                $0.addresses = [try ipPrefix("192.0.2.7/24")]
                $0.routes = try ["192.0.2.255", "192.0.2.1", "192.0.2.2"].map {
                    Route(to: nil, via: try ipAddress($0), metric: 100, origin: .dhcp)
                }
            }
            let report = try apply([lan])[0]
            #expect(report.outcome == .done && report.addressesSet == [0] && report.routesSet == [1], "\(report)")
            #expect(report.refused.count == 3)
            for (refused, part) in zip(report.refused, ["set MTU", "via 192.0.2.255", "via 192.0.2.2"]) {
                #expect(refused.contains(part), "\(report.refused)")
            }
            #expect(try busybox(["ip", "route"]).contains("default via 192.0.2.1 dev veth0  metric 100"))
        }
    }

    @Test func routesThatTheRestWorksWithoutLeaveIt() throws {
        try inNamespace {
            try busybox(["ip", "link", "add", "type", "veth"])
            let lan = try wanted("lan", .name("veth0")) {
                $0.addresses = [try ipPrefix("192.0.2.7/24")]
                // Of one whose gateway is elsewhere, and of the adapter's own network.
                $0.routes = try [
                    ("203.0.113.0/24", "198.51.100.1"), ("192.0.2.0/24", "192.0.2.1"), ("198.51.100.0/24", "192.0.2.1"),
                ].map {
                    var settings = RouteSettings(to: try ipPrefix($0), via: try ipAddress($1))
                    settings.isOptional = true
                    return Route(settings)
                }
            }
            let report = try apply([lan])[0]
            #expect(report.outcome == .done && report.addressesSet == [0] && report.routesSet == [2], "\(report)")
            let refused = ["203.0.113.0/24 via 198.51.100.1", "192.0.2.0/24 via 192.0.2.1"]
            #expect(report.refused.map { $0.prefix { $0 != ":" } } == refused.map { "add route \($0) to veth0" })
            #expect(try busybox(["ip", "route"]).contains("198.51.100.0/24 via 192.0.2.1 dev veth0"))
        }
    }

    @Test func noAdapterWaitsForTheAddressesOfAnother() throws {
        try inNamespace {
            try busybox(["ip", "link", "add", "type", "veth"])
            try busybox(["ip", "link", "add", "type", "veth"])
            // Without a cable the kernel finds nothing out.
            let slow = try wanted("slow", .name("veth0")) {
                $0.addresses = [try ipPrefix("2001:db8::7/64")]
                $0.routes = [Route(to: try ipPrefix("2001:db8:9::/48"), via: nil, metric: nil, origin: .configuration)]
            }
            try busybox(["ip", "link", "set", "veth3", "up"])
            let quick = try wanted("quick", .name("veth2")) { $0.addresses = [try ipPrefix("2001:db8:1::7/64")] }
            let plain = try wanted("plain", .name("veth1")) { $0.addresses = [try ipPrefix("192.0.2.7/24")] }
            try Files.write("0", to: "/proc/sys/net/ipv6/conf/veth2/accept_dad")
            var settled = plain
            settled.isSettled = true
            settled.addresses = [try ipPrefix("192.0.2.8/24")]
            let told = try reports([slow, quick, plain]).map { "\($0.id) \($0.outcome)" }
            #expect(told == ["slow begun", "quick begun", "plain done", "quick done", "slow done"])
            // Nothing is done to what is as it is to be, and nobody else gets it.
            let again = try reports([settled, WantedInterface(id: "other", match: .name("veth1"))])
            #expect(again.map { "\($0.id) \($0.outcome)" } == ["other missing"])
            #expect(try !busybox(["ip", "addr", "show", "dev", "veth1"]).contains("192.0.2.8"))
        }
    }

    @Test func aRouterThatAdvertisesKeepsNoRouteOut() throws {
        try inNamespace {
            try busybox(["ip", "link", "add", "type", "veth"])
            for name in ["veth0", "veth1"] { try busybox(["ip", "link", "set", name, "up"]) }
            // As the kernel makes it of an advertisement (RFC 4861, section 6.3.4), which comes before the addresses are set.
            let advertised = Route(to: nil, via: try ipAddress("fe80::9"), metric: 1024, origin: .dhcp)
            let index = try #require(try Configurator.list().first { $0.name == "veth0" }?.index)
            var socket = try RouteSocket()
            _ = try socket.exchange(.addRoute(index: index, advertised), "add route", "as advertised")
            let lan = try wanted("lan", .name("veth0")) {
                $0.addresses = [try ipPrefix("2001:db8::7/64")]
                $0.routes = [Route(to: nil, via: try ipAddress("2001:db8::1"), metric: nil, origin: .configuration)]
            }
            #expect(try apply([lan]).map { $0.outcome } == [.done])
            let routes = try busybox(["ip", "-6", "route"])
            #expect(routes.contains("default via fe80::9") && routes.contains("default via 2001:db8::1"), "\(routes)")
        }
    }

    @Test func namesAreExchanged() throws {
        try inNamespace {
            try busybox(["ip", "link", "add", "type", "veth"])
            try busybox(["ip", "link", "set", "veth0", "up"])
            let before = try Configurator.list()
            let reports = try apply([
                wanted("a", .name("veth0")) { $0.name = "veth1" }, wanted("b", .name("veth1")) { $0.name = "veth0" },
            ])
            #expect(reports.map { $0.outcome } == [.done, .done], "\(reports)")
            let after = try Configurator.list()
            for name in ["veth0", "veth1"] {
                let index = before.first { $0.name == name }?.index
                #expect(index != nil && after.first { $0.index == index }?.name == (name == "veth0" ? "veth1" : "veth0"))
            }
            // A name that is somebody else's.
            let taken = try apply([wanted("a", .name("veth0")) { $0.name = "lo" }])
            guard case .failed(let error) = taken[0].outcome else { throw NetworkError("rename", "", "it is lo now") }
            #expect(error.operation == "rename" && error.object == "veth0 to lo" && error.errno == .exists)
        }
    }

    @Test func anAddressThatAnotherMachineHasIsRefused() throws {
        try inNamespace {
            try busybox(["ip", "link", "add", "type", "veth"])
            try Files.write("0", to: "/proc/sys/net/ipv6/conf/veth1/accept_dad")
            try busybox(["ip", "link", "set", "veth1", "up"])
            try busybox(["ip", "addr", "add", "2001:db8::7/64", "dev", "veth1"])
            let reports = try apply([try wanted("lan", .name("veth0")) { $0.addresses = [try ipPrefix("2001:db8::7/64")] }])
            guard case .failed(let error) = reports[0].outcome else { throw NetworkError("add address", "", "two have it") }
            #expect(error.description == "add address 2001:db8::7/64 to veth0: another machine on the network has it")
        }
    }

    @Test func neighboursAreToldOfEachNewAddress() throws {
        try inNamespace {
            try busybox(["ip", "link", "add", "type", "veth"])
            try busybox(["ip", "link", "set", "veth1", "up"])
            // ETH_P_ARP, as a packet socket wants it; it hears both ends of the cable.
            let ear = FileDescriptor(
                owning: try attempt("socket") {
                    socket(AF_PACKET, Int32(SOCK_DGRAM.rawValue) | O_NONBLOCK, Int32(UInt16(0x0806).bigEndian))
                })
            func heard() throws -> [String] {
                usleep(100_000)
                var addresses: Set<String> = []
                while let packet = try ear.read(atMost: 256) {
                    // An announcement asks for the address that it comes from.
                    let sender = packet.dropFirst(14).prefix(4)
                    guard packet.count >= 28, Array(sender) == Array(packet[24..<28]), let address = IPAddress(bytes: Array(sender)) else {
                        continue
                    }
                    addresses.insert(address.text)
                }
                return addresses.sorted()
            }
            var lan = try wanted("lan", .name("veth0")) { $0.addresses = [try ipPrefix("192.0.2.7/24"), try ipPrefix("192.0.2.8/24")] }
            #expect(try apply([lan]).map { $0.outcome } == [.done])
            #expect(try heard() == ["192.0.2.7", "192.0.2.8"])
            // A lease that changes: the one that was there before is known.
            lan.present = InterfaceParts(addresses: lan.addresses)
            lan.addresses = [try ipPrefix("192.0.2.7/24"), try ipPrefix("192.0.2.9/24")]
            #expect(try apply([lan]).map { $0.outcome } == [.done])
            #expect(try heard() == ["192.0.2.9"])
        }
    }

    @Test func newsOfInterfacesCome() throws {
        try inNamespace {
            let socket = try RouteSocket(.links)
            #expect(try socket.takeNews().answers.isEmpty)
            try busybox(["ip", "link", "add", "type", "veth"])
            let names = try socket.takeNews().answers.compactMap { if case .link(let link) = $0 { link.name } else { nil } }
            #expect(names.contains("veth0") && names.contains("veth1"))
            try busybox(["ip", "link", "del", "veth0"])
            #expect(try socket.takeNews().answers.contains { if case .linkGone = $0 { true } else { false } })
        }
    }
}

extension Configurator {
    fileprivate static func list() throws -> [Link] {
        var configurator = try Configurator()
        return try configurator.links()
    }
}
