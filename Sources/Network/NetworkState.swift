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
        fileprivate var present = InterfaceParts()
        /// The last that was wanted is there.
        fileprivate var isSettled = false
        /// A client that has just begun says that it has no lease, which is no news of the one that was there before.
        fileprivate var isClientNew = true

        fileprivate init(_ settings: InterfaceSettings) { self.settings = settings }

        /// What it is called: its name as it is, else as it is in the configuration.
        public var name: String { link?.name ?? settings.name ?? settings.id }

        /// Everything that was wanted of it is there.
        public var isReady: Bool { link != nil && isSettled && failure == nil && (!settings.usesDHCP || lease != nil) }

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

    public init(_ settings: NetworkSettings) { interfaces = settings.interfaces.map { Interface($0) } }

    /// Every adapter that the container waits for is ready.
    public var isReady: Bool { interfaces.allSatisfy { $0.isReady || $0.settings.isOptional } }

    /// What has gone wrong with an adapter that the container waits for, and will not become better by waiting.
    public var failure: NetworkError? { interfaces.first { $0.failure != nil && !$0.settings.isOptional }?.failure }

    // MARK: What is wanted

    /// How all adapters are to be. What is asked for with it counts as being tried.
    public mutating func takeWork() -> [WantedInterface] {
        needsWork = false
        return interfaces.indices.map { wanted($0) }
    }

    private func wanted(_ position: Int) -> WantedInterface {
        let interface = interfaces[position]
        let settings = interface.settings
        var wanted = WantedInterface(id: settings.id, match: settings.match)
        wanted.knownIndex = interface.link?.index
        wanted.name = settings.name
        wanted.mtu = settings.mtu ?? interface.lease?.mtu
        wanted.present = interface.present
        wanted.addresses = settings.addresses
        wanted.routes = settings.routes.map { Route(to: $0.destination, via: $0.gateway, metric: $0.metric, origin: .configuration) }
        guard let lease = interface.lease else {
            // What DHCP will give may be what a gateway is reached by.
            if settings.usesDHCP { wanted.routes = wanted.routes.filter { wanted.reaches($0) } }
            return wanted
        }
        if !wanted.addresses.contains(lease.address) { wanted.addresses.append(lease.address) }
        for var route in settings.takesDHCPRoutes ? lease.routes : [] {
            // Behind those of the configuration, and those of two adapters apart: the kernel has one route for each metric.
            route.metric = NetworkState.leaseMetric + UInt32(clamping: position)
            if let gateway = route.gateway {
                route.isGatewayOnLink = !wanted.reaches(gateway)
            }
            if !wanted.routes.contains(route) { wanted.routes.append(route) }
        }
        return wanted
    }

    private static let leaseMetric: UInt32 = 100

    /// What became of it.
    public mutating func take(_ report: InterfaceReport, of wanted: WantedInterface) {
        guard let position = interfaces.firstIndex(where: { $0.settings.id == report.id }) else { return }
        if report.link?.index != interfaces[position].link?.index {
            // Another adapter: what was set on the one before is gone with it, and its lease is not this one's.
            interfaces[position].present = InterfaceParts()
            dropLease(position)
        }
        interfaces[position].link = report.link
        interfaces[position].failure = nil
        switch report.outcome {
        case .missing: interfaces[position].isSettled = false
        case .done:
            interfaces[position].isSettled = true
            interfaces[position].present = InterfaceParts(addresses: wanted.addresses, routes: wanted.routes)
        case .failed(let error):
            interfaces[position].isSettled = false
            interfaces[position].failure = error
            // Some of it may be there.
            for address in wanted.addresses where !interfaces[position].present.addresses.contains(address) {
                interfaces[position].present.addresses.append(address)
            }
            let set = wanted.orderedRoutes.prefix(max(0, report.routesSet))
            for route in set where !interfaces[position].present.routes.contains(route) {
                interfaces[position].present.routes.append(route)
            }
        }
    }

    /// The adapters could not be tried at all.
    public mutating func workFailed(_ error: NetworkError) {
        for position in interfaces.indices where !interfaces[position].isSettled { interfaces[position].failure = error }
    }

    /// The kernel tells of interfaces that came, changed or went.
    public mutating func take(_ news: [RouteAnswer], mayHaveMissed: Bool) {
        if mayHaveMissed { needsWork = true }
        for answer in news {
            switch answer {
            case .link: if interfaces.contains(where: { $0.link == nil }) { needsWork = true }
            case .linkGone(let index):
                guard let position = interfaces.firstIndex(where: { $0.link?.index == index }) else { continue }
                interfaces[position].link = nil
                interfaces[position].isSettled = false
                interfaces[position].present = InterfaceParts()
                interfaces[position].lease = nil
                interfaces[position].leaseEnds = nil
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
            if interfaces[position].lease == lease { return }
            interfaces[position].lease = lease
            interfaces[position].isSettled = false
            needsWork = true
        case .noAnswer, .refused: break
        }
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
        if interface.link == nil {
            let meant = Adapter.text(interface.settings.match)
            return NetworkError("find", "network adapter \(interface.settings.id)", "none with \(meant) has appeared within \(seconds) s")
        }
        if interface.settings.usesDHCP && interface.lease == nil {
            return NetworkError("dhcp", interface.name, "no lease within \(seconds) s")
        }
        return NetworkError("set up", interface.name, "not done within \(seconds) s")
    }

    // MARK: Names

    /// The name servers of all adapters, each once, in the order of the configuration.
    public var nameservers: [IPAddress] {
        unique(interfaces.map { $0.settings.nameservers } + interfaces.map { $0.lease?.nameservers ?? [] })
    }

    public var searchDomains: [String] {
        unique(interfaces.map { $0.settings.searchDomains } + interfaces.map { $0.lease?.searchDomains ?? [] })
    }

    private func unique<Element: Equatable>(_ lists: [[Element]]) -> [Element] {
        var result: [Element] = []
        for list in lists { for element in list where !result.contains(element) { result.append(element) } }
        return result
    }

    /// /etc/resolv.conf (resolv.conf(5)); nil where there is no name server to put into it.
    public var resolverFile: String? {
        if nameservers.isEmpty { return nil }
        var text = ""
        let domains = searchDomains
        if !domains.isEmpty { text += domains.reduce("search") { $0 + " " + $1 } + "\n" }
        for server in nameservers { text += "nameserver \(server.text)\n" }
        return text
    }
}
