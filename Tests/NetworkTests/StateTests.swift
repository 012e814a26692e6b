import ContainerSpec
import Linux
import Testing

@testable import Network

@Suite("Network state") struct StateTests {
    private let second: Int64 = 1_000_000_000

    private func prefix(_ text: String) throws -> IPPrefix { try ipPrefix(text) }
    private func address(_ text: String) throws -> IPAddress { try ipAddress(text) }

    private func settings(_ change: (inout [InterfaceSettings]) throws -> Void) rethrows -> NetworkSettings {
        var settings = NetworkSettings()
        settings.interfaces = [InterfaceSettings(id: "lan", match: .name("eth0"))]
        try change(&settings.interfaces)
        return settings
    }

    private func link(_ index: UInt32, _ name: String) -> Link {
        var link = Link(index: index, name: name)
        link.isUp = true
        return link
    }

    private func lease(_ text: String, seconds: Int64? = 100, gateway: String? = nil) throws -> Lease {
        var lease = Lease(address: try prefix(text))
        lease.seconds = seconds
        if let gateway { lease.routes = [Route(to: nil, via: try address(gateway), metric: nil, origin: .dhcp)] }
        return lease
    }

    /// Has the adapters as they are wanted.
    private func settle(_ state: inout NetworkState, index: UInt32 = 2) -> [WantedInterface] {
        let work = state.takeWork()
        for (position, wanted) in work.enumerated() where !wanted.isSettled {
            state.take(InterfaceReport(done: wanted, link: link(index + UInt32(position), "eth\(position)")), of: wanted)
        }
        state.workEnded()
        return work
    }

    @Test func aStaticAdapterIsReadyWhenItIsSetUp() throws {
        var state = NetworkState(try settings { $0[0].addresses = [try prefix("192.0.2.7/24")] })
        #expect(state.needsWork && !state.isReady)
        #expect(settle(&state)[0].addresses == [try prefix("192.0.2.7/24")])
        #expect(state.isReady && !state.needsWork)
        #expect(state.interfaces[0].addresses == [try prefix("192.0.2.7/24")])
        // News of what is known change nothing.
        state.take([.link(link(2, "eth0")), .link(link(9, "docker0"))], mayHaveMissed: false)
        #expect(!state.needsWork)
    }

    @Test func aMissingAdapterIsTriedAgainWhenOneAppears() throws {
        var state = NetworkState(settings { $0[0].isOptional = false })
        let work = state.takeWork()
        state.take(InterfaceReport(id: "lan", outcome: .missing), of: work[0])
        #expect(!state.isReady && !state.needsWork && state.failure == nil)
        #expect(state.missing(after: 30)?.description == "find network adapter lan: none with the name eth0 has appeared within 30 s")
        state.take([.link(link(4, "eth0"))], mayHaveMissed: false)
        #expect(state.needsWork)
        _ = settle(&state, index: 4)
        #expect(state.isReady)
        // It is taken away, and another one comes in its place: nothing is there any more.
        state.take([.linkGone(index: 4)], mayHaveMissed: false)
        #expect(!state.isReady && state.interfaces[0].addresses.isEmpty)
        state.take([.link(link(5, "eth0"))], mayHaveMissed: false)
        #expect(state.takeWork()[0].present == InterfaceParts())
    }

    @Test func theContainerDoesNotWaitForWhatIsOptional() throws {
        var state = NetworkState(settings { $0[0].isOptional = true })
        #expect(state.isReady && state.missing(after: 30) == nil)
        let work = state.takeWork()
        state.take(InterfaceReport(id: "lan", outcome: .failed(NetworkError("add address", "x", "y"))), of: work[0])
        #expect(state.failure == nil && state.isReady)
        var needed = NetworkState(settings { _ in })
        needed.take(
            InterfaceReport(id: "lan", outcome: .failed(NetworkError("add address", "x", "y")), link: link(2, "eth0")),
            of: needed.takeWork()[0])
        #expect(needed.failure?.cause == "y" && needed.missing(after: 30)?.cause == "y")
    }

    @Test func aLeaseComesChangesAndEnds() throws {
        var state = NetworkState(settings { $0[0].usesDHCP = true })
        _ = settle(&state)
        #expect(!state.isReady && state.missing(after: 30)?.description == "dhcp eth0: no lease within 30 s")
        state.clientStarted("lan")
        state.take(.none, for: "lan", now: 0)
        #expect(!state.needsWork)
        state.take(.lease(try lease("10.0.0.5/24", gateway: "10.0.0.1")), for: "lan", now: 0)
        #expect(state.needsWork && !state.isReady && state.nextExpiry == 100 * second)
        let first = settle(&state)[0]
        #expect(first.routes.map { $0.metric } == [100] && first.routes[0].isGatewayOnLink == false)
        #expect(state.isReady)
        #expect(try state.interfaces[0].gateway == address("10.0.0.1"))
        // The same for longer is no work.
        state.take(.lease(try lease("10.0.0.5/24", gateway: "10.0.0.1")), for: "lan", now: 50 * second)
        #expect(!state.needsWork && state.isReady && state.nextExpiry == 150 * second)
        // Another address: the old one goes.
        state.take(.lease(try lease("10.0.0.6/24", gateway: "10.0.0.1")), for: "lan", now: 60 * second)
        let second = settle(&state)[0]
        let steps = second.steps(for: link(2, "eth0")).map { "\($0.operation) \($0.object)" }
        #expect(
            steps == ["remove address 10.0.0.5/24 of eth0", "add address 10.0.0.6/24 to eth0", "add route default via 10.0.0.1 to eth0"])
        #expect(second.steps(for: link(2, "eth0")).last?.harmless == [Errno.exists.rawValue])
        // A client that is started again has no lease yet; the container keeps the address.
        state.clientStarted("lan")
        state.take(.none, for: "lan", now: 70 * self.second)
        #expect(state.isReady && !state.needsWork)
        // But not longer than it was given.
        #expect(state.expire(159 * self.second) == [] && state.expire(160 * self.second) == ["eth0"])
        #expect(state.needsWork && !state.isReady)
        #expect(settle(&state)[0].addresses == [])
        #expect(state.interfaces[0].addresses == [])
        // A lease that is lost goes at once, and one for ever never.
        state.take(.lease(try lease("10.0.0.7/24", seconds: nil)), for: "lan", now: 0)
        #expect(state.nextExpiry == nil)
        _ = settle(&state)
        state.take(.refused, for: "lan", now: 0)
        #expect(state.isReady)
        state.take(.none, for: "lan", now: 0)
        #expect(settle(&state)[0].addresses == [])
        state.take(.lease(try lease("10.0.0.7/24", seconds: .max / 1_000_000_000)), for: "lan", now: .max - 1)
        #expect(state.nextExpiry == nil)
    }

    @Test func twoAdaptersHaveTwoMetrics() throws {
        var state = NetworkState(
            settings {
                $0[0].usesDHCP = true
                $0.append(InterfaceSettings(id: "wan", match: .name("eth1")))
                $0[1].usesDHCP = true
            })
        _ = settle(&state)
        for id in ["lan", "wan"] {
            state.take(.none, for: id, now: 0)
            // A gateway outside of the network, as some clouds have it.
            state.take(.lease(try lease("10.0.0.5/32", gateway: "10.0.0.1")), for: id, now: 0)
        }
        let routes = state.takeWork().flatMap { $0.routes }
        #expect(routes.map { $0.metric } == [100, 101] && routes.allSatisfy { $0.isGatewayOnLink })
    }

    /// VIC's keys may name the gateway and leave the address to DHCP.
    @Test func aRouteWaitsForTheAddressThatItsGatewayIsReachedBy() throws {
        var state = NetworkState(
            try settings {
                $0[0].usesDHCP = true
                $0[0].takesDHCPRoutes = false
                $0[0].addresses = [try prefix("192.0.2.7/24")]
                $0[0].routes = try [("10.0.0.1", nil), ("192.0.2.1", "203.0.113.0/24"), ("fe80::1", nil)].map { gateway, destination in
                    RouteSettings(to: try destination.map { try prefix($0) }, via: try address(gateway))
                }
            })
        #expect(settle(&state)[0].routes.map { $0.description } == ["203.0.113.0/24 via 192.0.2.1", "default via fe80::1"])
        state.take(.lease(try lease("10.0.0.5/24", gateway: "10.0.0.254")), for: "lan", now: 0)
        #expect(
            settle(&state)[0].routes.map { $0.description }
                == ["default via 10.0.0.1", "203.0.113.0/24 via 192.0.2.1", "default via fe80::1"])
        #expect(try state.interfaces[0].gateway == address("10.0.0.1"))
    }

    @Test func nameServersOfTheConfigurationComeFirst() throws {
        var state = NetworkState(
            try settings {
                $0[0].usesDHCP = true
                $0.append(InterfaceSettings(id: "wan", match: .name("eth1")))
                $0[1].nameservers = [try address("192.0.2.53"), try address("2001:db8::53")]
                $0[1].searchDomains = ["example.org"]
            })
        var lease = try lease("10.0.0.5/24")
        lease.nameservers = [try address("10.0.0.3"), try address("192.0.2.53")]
        lease.searchDomains = ["lan.example"]
        state.take(.lease(lease), for: "lan", now: 0)
        #expect(
            state.resolverFile
                == "search example.org lan.example\nnameserver 192.0.2.53\nnameserver 2001:db8::53\nnameserver 10.0.0.3\n")
        #expect(NetworkState(settings { _ in }).resolverFile == nil)
    }

    @Test func whatIsThereOfAFailureIsKnown() throws {
        var state = NetworkState(
            try settings {
                $0[0].addresses = [try prefix("192.0.2.7/24")]
                $0[0].routes = [
                    RouteSettings(to: nil, via: try address("198.51.100.1")), RouteSettings(to: try prefix("203.0.113.0/24"), via: nil),
                ]
            })
        let wanted = state.takeWork()[0]
        // What is on the link goes before what is behind a gateway.
        #expect(
            wanted.steps(for: Link(index: 2, name: "eth0")).map { $0.operation } == ["switch on", "add address", "add route", "add route"])
        #expect(wanted.orderedRoutes.map { $0.description } == ["203.0.113.0/24", "default via 198.51.100.1"])
        let error = NetworkError("add route", "default via 198.51.100.1 to eth0", "Nexthop has invalid gateway (Network is unreachable)")
        var report = InterfaceReport(id: "lan", outcome: .failed(error), link: link(2, "eth0"))
        report.addressesSet = [0]
        report.routesSet = [0]
        report.refused = ["set MTU 9000 of eth0: it is too much"]
        #expect(InterfaceReport(report.encoded) == report)
        state.take(report, of: wanted)
        #expect(state.hasFailed && !state.needsWork)
        state.retry()
        #expect(state.needsWork)
        let again = state.takeWork()[0]
        #expect(again.present.routes.map { $0.description } == ["203.0.113.0/24"])
        #expect(again.present.addresses == wanted.addresses)
        for count in report.encoded.indices { #expect(InterfaceReport(Array(report.encoded.prefix(count))) == nil) }
        #expect(InterfaceReport(report.encoded + [0]) == nil)
    }
}
