import ContainerSpec
import Linux

/// What the configuration and the DHCP servers want of the VM's network, and how far it is there: decisions without I/O.
///
/// Times are nanoseconds on the monotonic clock.
public struct NetworkState: Sendable {
    /// One adapter of the configuration.
    public struct Interface: Sendable {
        public let settings: InterfaceSettings
        /// The adapter as it was last seen; nil where it is not there.
        public fileprivate(set) var link: Link?
        public fileprivate(set) var lease: Lease?
        /// When the lease is no more; nil is never, or without a lease.
        public fileprivate(set) var leaseEnds: Int64?
        /// What of it could not be set up.
        public fileprivate(set) var failure: NetworkError?
        /// What the kernel does not take of the lease.
        public fileprivate(set) var refused: [String] = []
        fileprivate var present = InterfaceParts()
        /// The last that was wanted is there.
        fileprivate var isSettled = false
        /// Something of it was there once, since when it has its name.
        fileprivate var hasSettled = false
        /// Whether it is there at all has been found out.
        fileprivate var wasTried = false
        /// The driver's MTU, and that a lease had another one.
        fileprivate var ownMTU: UInt32?
        fileprivate var hasHadLeaseMTU = false
        /// A client that has just begun says that it has no lease, which is no news of the one that was there before.
        fileprivate var isClientNew = true

        fileprivate init(_ settings: InterfaceSettings) { self.settings = settings }

        /// What it is called: its name as it is, else as it is in the configuration.
        public var name: String { link?.name ?? settings.name ?? settings.id }

        /// Everything that was wanted of it is there.
        public var isReady: Bool { link != nil && isSettled && failure == nil && (!settings.usesDHCP || lease != nil) }

        /// The addresses of what it was last set up as, although something else may be wanted by now, and perhaps could not be had.
        public var settledAddresses: [IPPrefix] { link != nil && hasSettled ? present.addresses : [] }

        /// The MTU of the lease. One that would take away IPv6 addresses of the configuration (RFC 8200, section 5) is none.
        fileprivate var leaseMTU: UInt32? {
            lease?.mtu.flatMap { mtu in mtu < 1280 && settings.addresses.contains { !$0.address.isIPv4 } ? nil : mtu }
        }

        public var nameservers: [IPAddress] {
            settings.nameservers + (lease?.nameservers ?? []).filter { !settings.nameservers.contains($0) }
        }

        /// The addresses that it has of the configuration or by DHCP.
        public var addresses: [IPPrefix] { present.addresses }

        /// The way out; also the one that a DHCP server names and the configuration does not want a route to.
        public var gateway: IPAddress? {
            (present.routes.first { $0.destination == nil } ?? lease?.routes.first { $0.destination == nil })?.gateway
        }
    }

    public private(set) var interfaces: [Interface]
    /// Something is wanted that has not been tried yet.
    public private(set) var needsWork = true
    private var isWorking = false
    /// Interfaces that went while what was asked for last was done: reports may speak of them.
    private var gone: [UInt32] = []

    public init(_ settings: NetworkSettings) { interfaces = settings.interfaces.map { Interface($0) } }

    /// Every adapter that the container waits for is ready.
    public var isReady: Bool { interfaces.allSatisfy { $0.isReady || $0.settings.isOptional } }

    /// What has gone wrong with an adapter that the container waits for, and will not become better by waiting.
    public var failure: NetworkError? { interfaces.first { $0.failure != nil && !$0.settings.isOptional }?.failure }

    // MARK: What is wanted

    /// How all adapters are to be. What is asked for with it counts as being tried, until ``workEnded()``.
    public mutating func takeWork() -> [WantedInterface] {
        needsWork = false
        isWorking = true
        gone = []
        return interfaces.indices.map { wanted($0) }
    }

    /// Nothing more will be reported of what was asked for.
    public mutating func workEnded() { isWorking = false }

    /// Whether what adapters have is what is known of them: nothing is being changed, or about to be.
    public var isAtRest: Bool { !isWorking && !needsWork }

    /// Some adapter is not as it is wanted, and could be tried again.
    public var hasFailed: Bool { interfaces.contains { $0.failure != nil } }

    /// Tries again what has failed.
    public mutating func retry() { if hasFailed { needsWork = true } }

    private func wanted(_ position: Int) -> WantedInterface {
        let interface = interfaces[position]
        let settings = interface.settings
        var wanted = WantedInterface(id: settings.id, match: settings.match)
        wanted.knownIndex = interface.link?.index
        // It is given once: to be renamed it would have to be switched off.
        wanted.name = interface.hasSettled ? nil : settings.name
        wanted.mtu = settings.mtu ?? interface.leaseMTU ?? (interface.hasHadLeaseMTU ? interface.ownMTU : nil)
        wanted.isMTUOptional = settings.mtu == nil
        wanted.isSettled = interface.isSettled
        wanted.present = interface.present
        wanted.addresses = settings.addresses
        wanted.routes = settings.routes.map { Route($0) }
        guard let lease = interface.lease else {
            // What DHCP will give may be what a gateway is reached by.
            if settings.usesDHCP { wanted.routes = wanted.routes.filter { wanted.reaches($0) } }
            return wanted
        }
        if !wanted.addresses.contains(lease.address) { wanted.addresses.append(lease.address) }
        for var route in settings.takesDHCPRoutes ? lease.routes : [] {
            // Behind those of the configuration, and those of two adapters apart: the kernel has one route for each metric.
            route.metric = leaseMetric(position, route.destination)
            if let gateway = route.gateway {
                route.isGatewayOnLink = !wanted.reaches(gateway)
            }
            if !wanted.routes.contains(route) { wanted.routes.append(route) }
        }
        return wanted
    }

    /// One that no route of the configuration to the same destination has.
    private func leaseMetric(_ position: Int, _ destination: IPPrefix?) -> UInt32 {
        let taken = interfaces.flatMap { $0.settings.routes }.filter { $0.destination == destination }.map { $0.metric }
        var metric = NetworkState.leaseMetric + UInt32(clamping: position)
        while taken.contains(metric) { metric += UInt32(clamping: interfaces.count) }
        return metric
    }

    private static let leaseMetric: UInt32 = 100

    /// What became of it.
    public mutating func take(_ report: InterfaceReport, of wanted: WantedInterface) {
        guard let position = interfaces.firstIndex(where: { $0.settings.id == report.id }) else { return }
        var report = report
        if let link = report.link, gone.contains(link.index) {
            // It is not there any more; one like it may be there by now.
            report = InterfaceReport(id: report.id, outcome: .missing)
            needsWork = true
        }
        // Another adapter: what was set on the one before is gone with it, and its lease is not this one's.
        if report.link?.index != interfaces[position].link?.index { forgetLink(position) }
        interfaces[position].link = report.link
        interfaces[position].wasTried = true
        interfaces[position].ownMTU = interfaces[position].ownMTU ?? report.link?.mtu
        if report.outcome == .begun { return }
        // Since it was asked for, a lease may have come or gone.
        let isCurrent = self.wanted(position).isWanted(like: wanted)
        if !isCurrent { needsWork = true }
        interfaces[position].failure = nil
        interfaces[position].isSettled = false
        let parts = report.parts(of: wanted)
        switch report.outcome {
        case .begun, .missing: break
        case .done:
            interfaces[position].isSettled = isCurrent
            interfaces[position].hasSettled = true
            interfaces[position].refused = report.refused
            interfaces[position].present = parts
        case .failed(let error):
            if isCurrent { interfaces[position].failure = error }
            interfaces[position].refused = report.refused
            // What was there before may be there still.
            for address in parts.addresses where !interfaces[position].present.addresses.contains(address) {
                interfaces[position].present.addresses.append(address)
            }
            for route in parts.routes where !interfaces[position].present.routes.contains(route) {
                interfaces[position].present.routes.append(route)
            }
        }
    }

    private mutating func forgetLink(_ position: Int) {
        dropLease(position)
        interfaces[position].link = nil
        interfaces[position].present = InterfaceParts()
        interfaces[position].refused = []
        interfaces[position].ownMTU = nil
        interfaces[position].hasHadLeaseMTU = false
        interfaces[position].isSettled = false
        interfaces[position].hasSettled = false
    }

    /// The adapters could not be tried at all.
    public mutating func workFailed(_ error: NetworkError) {
        for position in interfaces.indices where !interfaces[position].isSettled { interfaces[position].failure = error }
    }

    /// The kernel tells of interfaces that came, changed or went.
    public mutating func take(_ news: [RouteAnswer], mayHaveMissed: Bool) {
        if mayHaveMissed {
            needsWork = true
            // An adapter that went and came back has nothing of what it had.
            for position in interfaces.indices { interfaces[position].isSettled = false }
        }
        for answer in news {
            switch answer {
            case .link(let link):
                if let position = interfaces.firstIndex(where: { $0.link?.index == link.index }) {
                    interfaces[position].link?.name = link.name
                } else if interfaces.contains(where: { $0.link == nil }) {
                    needsWork = true
                }
            case .linkGone(let index):
                if isWorking && !gone.contains(index) { gone.append(index) }
                guard let position = interfaces.firstIndex(where: { $0.link?.index == index }) else { continue }
                forgetLink(position)
                // What comes in its place may have come already.
                needsWork = true
            case .address, .done, .acknowledged, .failed: break
            }
        }
    }

    // MARK: Leases

    /// A DHCP client for the adapter has been started.
    public mutating func clientStarted(_ id: String) {
        if let position = interfaces.firstIndex(where: { $0.settings.id == id }) { interfaces[position].isClientNew = true }
    }

    /// What a DHCP client says.
    public mutating func take(_ event: LeaseEvent, for id: String, now: Int64) {
        guard let position = interfaces.firstIndex(where: { $0.settings.id == id }) else { return }
        let isFirst = interfaces[position].isClientNew
        interfaces[position].isClientNew = false
        switch event {
        case .none:
            // The container keeps its address while a client that was started again asks for it.
            if !isFirst { dropLease(position) }
        case .lease(let lease):
            let (ends, tooLate) = now.addingReportingOverflow((lease.seconds ?? 0) &* 1_000_000_000)
            interfaces[position].leaseEnds = lease.seconds == nil || tooLate ? nil : ends
            let isSame = interfaces[position].lease?.isSet(like: lease) ?? false
            interfaces[position].lease = lease
            if interfaces[position].leaseMTU != nil { interfaces[position].hasHadLeaseMTU = true }
            // What could not be had of it before may be had now.
            if isSame && interfaces[position].failure == nil && interfaces[position].refused.isEmpty { return }
            interfaces[position].isSettled = false
            needsWork = true
        case .noAnswer, .refused: break
        }
    }

    /// What the DHCP server says and is not used, for warnings.
    public func unused(_ lease: Lease, for id: String) -> [String] {
        guard let interface = interfaces.first(where: { $0.settings.id == id }), let mtu = lease.mtu, interface.settings.mtu == nil,
            interface.lease == lease, interface.leaseMTU == nil
        else { return lease.ignored }
        return lease.ignored + ["mtu \(mtu)"]
    }

    /// Drops what has run out.
    /// - Returns: the adapters whose lease it was.
    public mutating func expire(_ now: Int64) -> [String] {
        var expired: [String] = []
        for position in interfaces.indices {
            guard let ends = interfaces[position].leaseEnds, ends <= now else { continue }
            dropLease(position)
            expired.append(interfaces[position].name)
        }
        return expired
    }

    public var nextExpiry: Int64? { interfaces.compactMap { $0.leaseEnds }.min() }

    private mutating func dropLease(_ position: Int) {
        guard interfaces[position].lease != nil else { return }
        interfaces[position].lease = nil
        interfaces[position].leaseEnds = nil
        interfaces[position].isSettled = false
        needsWork = true
    }

    // MARK: The end of the wait

    /// What is missing of the adapters that the container has waited for, `seconds` long.
    public func missing(after seconds: Int64) -> NetworkError? {
        guard let interface = interfaces.first(where: { !$0.isReady && !$0.settings.isOptional }) else { return nil }
        if let failure = interface.failure { return failure }
        if !interface.wasTried { return NetworkError("set up", interface.name, "not done within \(seconds) s") }
        if interface.link == nil {
            let meant = Adapter.text(interface.settings.match)
            return NetworkError("find", "network adapter \(interface.settings.id)", "none with \(meant) has appeared within \(seconds) s")
        }
        if interface.settings.usesDHCP && interface.lease == nil {
            return NetworkError("dhcp", interface.name, "no lease within \(seconds) s")
        }
        return NetworkError("set up", interface.name, "not done within \(seconds) s")
    }
}
