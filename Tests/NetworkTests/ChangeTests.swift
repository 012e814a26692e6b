import ContainerSpec
import Linux
import Testing

@testable import Network

/// What comes while something else is being done.
@Suite("Network state: changes") struct ChangeTests {
    private func state(_ change: (inout InterfaceSettings) throws -> Void = { _ in }) throws -> NetworkState {
        var settings = NetworkSettings()
        settings.interfaces = [InterfaceSettings(id: "lan", match: .macAddress([2, 0, 0, 0, 0, 1]))]
        try change(&settings.interfaces[0])
        return NetworkState(settings)
    }

    private func link(_ index: UInt32, mtu: UInt32 = 1500) -> Link {
        var link = Link(index: index, name: "eth0")
        link.mtu = mtu
        return link
    }

    private func lease(_ text: String, _ change: (inout Lease) throws -> Void = { _ in }) throws -> Lease {
        var lease = Lease(address: try ipPrefix(text))
        try change(&lease)
        return lease
    }

    @discardableResult
    private func settle(_ state: inout NetworkState, index: UInt32 = 2) -> WantedInterface {
        let wanted = state.takeWork()[0]
        if !wanted.isSettled { state.take(InterfaceReport(done: wanted, link: link(index)), of: wanted) }
        state.workEnded()
        return wanted
    }

    @Test func aLeaseThatComesWhileAWorkerRunsIsNotCalledSet() throws {
        var state = try state { $0.usesDHCP = true }
        settle(&state)
        // A worker that was started for something else.
        state.take([], mayHaveMissed: true)
        let old = state.takeWork()[0]
        #expect(!state.isAtRest)
        state.take(.lease(try lease("10.0.0.5/24")), for: "lan", now: 0)
        state.take(InterfaceReport(done: old, link: link(2)), of: old)
        state.workEnded()
        #expect(!state.isReady && state.needsWork && state.interfaces[0].settledAddresses.isEmpty && state.interfaces[0].addresses.isEmpty)
        settle(&state)
        #expect(state.isReady && state.isAtRest && !state.interfaces[0].settledAddresses.isEmpty)

        // One that goes meanwhile is taken away, and a failure of what is not wanted any more is none.
        state.take(.lease(try lease("10.0.0.6/24")), for: "lan", now: 0)
        let second = state.takeWork()[0]
        state.take(.none, for: "lan", now: 0)
        var failed = InterfaceReport(id: "lan", outcome: .failed(NetworkError("add address", "x", "y")), link: link(2))
        state.take(failed, of: second)
        state.workEnded()
        #expect(state.failure == nil && state.needsWork)
        // What had been there may be so still.
        #expect(state.takeWork()[0].present.addresses == [try ipPrefix("10.0.0.5/24")])
        failed.addressesSet = [7]
        #expect(failed.parts(of: second).addresses.isEmpty)
    }

    @Test func anAdapterThatGoesWhileAWorkerRunsIsGone() throws {
        var state = try state()
        let work = state.takeWork()[0]
        state.take([.linkGone(index: 2), .link(link(3))], mayHaveMissed: false)
        state.take(InterfaceReport(done: work, link: link(2)), of: work)
        state.workEnded()
        #expect(!state.isReady && state.needsWork && state.interfaces[0].link == nil)
        settle(&state, index: 3)
        #expect(state.isReady && state.isAtRest)
        // Another one may have come before it is known that the first has gone.
        state.take([.link(link(4)), .linkGone(index: 3)], mayHaveMissed: false)
        #expect(state.needsWork && state.interfaces[0].link == nil)
    }

    @Test func whatIsSetUpIsLeftAlone() throws {
        var settings = NetworkSettings()
        settings.interfaces = ["lan", "wan"].map { InterfaceSettings(id: $0, match: .name($0)) }
        settings.interfaces[0].name = "lan0"
        settings.interfaces[0].usesDHCP = true
        settings.interfaces[1].isOptional = true
        var state = NetworkState(settings)
        let first = state.takeWork()
        #expect(first[0].name == "lan0" && !first[0].isSettled)
        state.take(InterfaceReport(id: "lan", outcome: .begun, link: link(2)), of: first[0])
        #expect(state.interfaces[0].link?.index == 2 && !state.isReady)
        state.take(InterfaceReport(done: first[0], link: link(2)), of: first[0])
        state.take(InterfaceReport(id: "wan", outcome: .missing), of: first[1])
        state.workEnded()
        // Somebody's other interface is looked at, and nothing else done.
        state.take([.link(link(9))], mayHaveMissed: false)
        #expect(state.needsWork && state.takeWork().map { $0.isSettled } == [true, false])
        state.workEnded()
        // Nor is it renamed again, which would switch it off; its name is what it is called now.
        var renamed = link(2)
        renamed.name = "mine0"
        state.take([.link(renamed)], mayHaveMissed: false)
        #expect(state.interfaces[0].name == "mine0")
        state.take(.lease(try lease("10.0.0.5/24")), for: "lan", now: 0)
        let again = state.takeWork()[0]
        #expect(again.name == nil && !again.isSettled)
    }

    @Test func whatTheKernelRefusesOfALeaseIsTriedAgainWithTheNext() throws {
        var state = try state { $0.usesDHCP = true }
        settle(&state)
        let given = try lease("10.0.0.5/24") {
            $0.routes = [Route(to: nil, via: try ipAddress("10.0.0.255"), metric: nil, origin: .dhcp)]
            $0.seconds = 100
        }
        state.take(.lease(given), for: "lan", now: 0)
        let wanted = state.takeWork()[0]
        #expect(wanted.steps(for: link(2)).filter { $0.operation == "add route" }.allSatisfy { $0.isOptional })
        var report = InterfaceReport(done: wanted, link: link(2))
        report.routesSet = []
        report.refused = ["add route default via 10.0.0.255 to eth0: no"]
        #expect(InterfaceReport(report.encoded) == report)
        state.take(report, of: wanted)
        state.workEnded()
        #expect(state.isReady && !state.needsWork && state.interfaces[0].refused == report.refused)
        // The next renewal, which says something else of its time.
        var renewed = given
        renewed.seconds = 90
        state.take(.lease(renewed), for: "lan", now: 0)
        #expect(state.needsWork)
        settle(&state)
        renewed.seconds = 80
        state.take(.lease(renewed), for: "lan", now: 0)
        #expect(state.isAtRest && state.isReady && state.nextExpiry == 80_000_000_000)
        // And a failure is.
        state.take(.lease(try lease("10.0.0.6/24")), for: "lan", now: 0)
        let failing = state.takeWork()[0]
        state.take(InterfaceReport(id: "lan", outcome: .failed(NetworkError("add address", "x", "y")), link: link(2)), of: failing)
        state.workEnded()
        #expect(state.hasFailed && !state.needsWork)
        state.take(.lease(try lease("10.0.0.6/24")), for: "lan", now: 0)
        #expect(state.needsWork)
    }

    @Test func aRouteOfALeaseHasAMetricOfItsOwn() throws {
        var state = try state {
            $0.usesDHCP = true
            $0.addresses = [try ipPrefix("192.0.2.7/24")]
            $0.routes = [RouteSettings(to: nil, via: try ipAddress("192.0.2.1"))]
            $0.routes[0].metric = 100
        }
        settle(&state)
        state.take(
            .lease(try lease("10.0.0.5/24") { $0.routes = [Route(to: nil, via: try ipAddress("10.0.0.1"), metric: nil, origin: .dhcp)] }),
            for: "lan", now: 0)
        #expect(state.takeWork()[0].routes.map { $0.metric } == [100, 101])
    }

    @Test func theMTUOfALeaseGoesWithIt() throws {
        var state = try state { $0.usesDHCP = true }
        settle(&state)
        #expect(state.takeWork()[0].mtu == nil)
        state.workEnded()
        state.take(.lease(try lease("10.0.0.5/24") { $0.mtu = 9000 }), for: "lan", now: 0)
        let wanted = settle(&state)
        #expect(wanted.mtu == 9000 && wanted.steps(for: link(2)).first?.isOptional == true)
        state.take(.none, for: "lan", now: 0)
        #expect(settle(&state).mtu == 1500)

        // IPv6 needs 1280 bytes, and the configuration has such an address.
        var both = try self.state {
            $0.usesDHCP = true
            $0.addresses = [try ipPrefix("2001:db8::7/64")]
        }
        settle(&both)
        let small = try lease("10.0.0.5/24") { $0.mtu = 1279 }
        both.take(.lease(small), for: "lan", now: 0)
        #expect(both.takeWork()[0].mtu == nil && both.unused(small, for: "lan") == ["mtu 1279"])
        let enough = try lease("10.0.0.5/24") { $0.mtu = 1280 }
        both.take(.lease(enough), for: "lan", now: 0)
        #expect(both.takeWork()[0].mtu == 1280 && both.unused(enough, for: "lan") == [])
    }

    @Test func whatWasNotLookedForIsNotCalledMissing() throws {
        var state = try state()
        let work = state.takeWork()[0]
        #expect(state.missing(after: 10)?.description == "set up lan: not done within 10 s")
        state.take(InterfaceReport(id: "lan", outcome: .missing), of: work)
        #expect(state.missing(after: 10)?.operation == "find")
    }

    @Test func nameServersMayComeLater() throws {
        #expect(try !state().mayHaveNameservers)
        #expect(try state { $0.usesDHCP = true }.mayHaveNameservers)
        var optional = try state {
            $0.nameservers = [try ipAddress("192.0.2.53")]
            $0.isOptional = true
        }
        #expect(optional.isReady && optional.mayHaveNameservers && optional.resolverFile == "nameserver 192.0.2.53\n")
        _ = optional.takeWork()
        #expect(optional.isReady)
    }

    @Test func whoSaysTooMuchWaits() {
        var allowance = Allowance(burst: 3, interval: 10)
        #expect((0..<5).map { _ in allowance.take(100) } == [true, true, true, false, false])
        #expect(allowance.nextAt == 110 && !allowance.take(109) && allowance.take(110) && !allowance.take(110))
        // Who was silent has no more than that.
        #expect((0..<5).filter { _ in allowance.take(1_000_000) }.count == 3)
    }
}
