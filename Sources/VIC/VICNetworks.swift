public import ContainerSpec

/// An endpoint of VIC's: a network, and the adapter that is on it. Several may share one adapter.
public struct VICEndpoint: Equatable, Sendable {
    /// Where its address comes from.
    public enum Addressing: Equatable, Sendable {
        case dhcp
        case fixed(IPPrefix)
        /// Something else sees to it: the adapter is brought up, and no more.
        case external
    }

    /// The network's name in the map: its keys are at `networks|…`.
    public var network: String
    /// ``InterfaceSettings/id`` of its adapter.
    public var interface: String
    public var addressing: Addressing
    /// `network/gateway`, nil where it has none.
    public var gateway: IPAddress?
    /// `network/gateway/Mask`, as the portlayer wrote it.
    public var gatewayMask: VICAddress
    /// `network/dns`.
    public var nameservers: [IPAddress]
    /// What it is called in /etc/hosts, with `.localhost` behind; nil for a name that cannot stand there.
    public var hostName: String?

    /// What it has now.
    ///
    /// - Parameter leases: of all adapters.
    /// - Returns: nil where it has no address, or none that is known.
    public func assignment(_ leases: [VICLease]) -> VICAssignment? {
        switch addressing {
        case .external: return nil
        case .fixed(let address): return VICAssignment(address: address, gateway: gateway, nameservers: nameservers)
        case .dhcp:
            guard let lease = leases.first(where: { $0.interface == interface }) else { return nil }
            return VICAssignment(
                address: lease.address, gateway: gateway ?? lease.gateway,
                nameservers: nameservers.isEmpty ? lease.nameservers : nameservers)
        }
    }

    /// What it has of that, as the adapter is now. Of several endpoints on one adapter each has its own: that the lease of one is over is
    /// nothing to the others.
    ///
    /// - Parameter addresses: those that the adapter has.
    public func assignment(_ leases: [VICLease], on addresses: [IPPrefix]) -> VICAssignment? {
        assignment(leases).flatMap { addresses.contains($0.address) ? $0 : nil }
    }

    /// The keys that tell the portlayer what the endpoint has.
    ///
    /// - Parameter assignment: nil where it has no address any more: then the keys are there, and say nothing.
    public func keyValues(_ assignment: VICAssignment?) -> [VICKeyValue] {
        let key = VICKey().field("networks").element(network)
        let assigned = key.field("assigned", .readWrite)
        let addressMask = assignment.map { VICAddress($0.address.mask) } ?? VICAddress()
        var result = VICEndpoint.keys(assigned, assignment?.address.address, addressMask)
        let ofNetwork = key.field("network").field("assigned", .readWrite)
        // A gateway of DHCP's has its network's mask.
        let isConfigured = assignment?.gateway != nil && assignment?.gateway == gateway && !gatewayMask.bytes.isEmpty
        result += VICEndpoint.keys(
            ofNetwork.field("gateway", .readWrite), assignment?.gateway, isConfigured ? gatewayMask : addressMask)
        let list = ofNetwork.field("dns", .readWrite)
        let servers = assignment?.nameservers ?? []
        for (index, server) in servers.enumerated() { result.append(VICKeyValue(list.element("\(index)"), VICValues.text(server.bytes))) }
        // Behind the elements that it counts.
        return result + [VICKeyValue(list, "\(servers.count - 1)")]
    }

    private static func keys(_ key: VICKey, _ address: IPAddress?, _ mask: VICAddress) -> [VICKeyValue] {
        [
            VICKeyValue(key.field("IP", .inherited), VICValues.text(address?.bytes ?? [])),
            VICKeyValue(key.field("Mask", .inherited), address == nil ? "" : VICValues.text(mask.bytes)),
        ]
    }
}

/// What DHCP gave an adapter.
public struct VICLease: Equatable, Sendable {
    /// ``InterfaceSettings/id``
    public var interface: String
    public var address: IPPrefix
    public var gateway: IPAddress?
    public var nameservers: [IPAddress]
    public var searchDomains: [String]

    public init(interface: String, address: IPPrefix, gateway: IPAddress?, nameservers: [IPAddress], searchDomains: [String] = []) {
        self.interface = interface
        self.address = address
        self.gateway = gateway
        self.nameservers = nameservers
        self.searchDomains = searchDomains
    }
}

/// What an endpoint has.
public struct VICAssignment: Equatable, Sendable {
    public var address: IPPrefix
    public var gateway: IPAddress?
    public var nameservers: [IPAddress]

    public init(address: IPPrefix, gateway: IPAddress? = nil, nameservers: [IPAddress] = []) {
        self.address = address
        self.gateway = gateway
        self.nameservers = nameservers
    }
}

/// Makes the VM's adapters of VIC's endpoints.
struct VICNetworkPlan {
    private(set) var interfaces: [InterfaceSettings] = []
    /// In the order of the networks' names.
    private(set) var endpoints: [VICEndpoint] = []
    private(set) var warnings: [SpecIssue] = []
    /// Routes by their destination, to see those that need a metric.
    private var destinations: [(to: IPPrefix?, isIPv4: Bool)] = []

    var settings: NetworkSettings? {
        if interfaces.isEmpty { return nil }
        var settings = NetworkSettings()
        settings.interfaces = interfaces
        return settings
    }

    init(_ config: VICExecutorConfig) {
        // VIC sets up those of internal networks first.
        for endpoint in config.networks where endpoint.isInternal { add(endpoint) }
        for endpoint in config.networks where !endpoint.isInternal { add(endpoint) }
        // That to a gateway outside is the one that counts, whatever the order.
        for endpoint in config.networks where !endpoint.isInternal { route(endpoint) }
        for endpoint in config.networks where endpoint.isInternal { route(endpoint) }
        endpoints.sort { $0.network.utf8.lexicographicallyPrecedes($1.network.utf8) }
    }

    private mutating func warn(_ endpoint: VICNetworkEndpoint, _ fields: [String], _ problem: String) {
        let key = fields.reduce(VICKey().field("networks").element(endpoint.key)) { $0.field($1) }
        if warnings.count < SpecError.limit { warnings.append(SpecIssue(.invalid, key.name, problem)) }
    }

    private mutating func add(_ endpoint: VICNetworkEndpoint) {
        guard let slot = UInt32(endpoint.id), (1...0x1FFF).contains(slot) else {
            return warn(endpoint, ["Common", "id"], "expected the number of a PCI slot, 1 to 8191; this network is not set up")
        }
        var index = interfaces.firstIndex { $0.match == .pciSlot(slot) }
        if index == nil && interfaces.count < NetworkSettings.interfaceLimit {
            var interface = InterfaceSettings(id: endpoint.key, match: .pciSlot(slot))
            // Only on a network that is the default one.
            interface.takesDHCPRoutes = false
            index = interfaces.count
            interfaces.append(interface)
        }
        guard let index else {
            return warn(endpoint, [], "there are more than \(NetworkSettings.interfaceLimit) adapters; this network is not set up")
        }
        name(endpoint, index)
        let addressing = self.addressing(endpoint)
        let gateway = endpoint.network.gateway.ip.address
        let nameservers = endpoint.network.nameservers.compactMap { $0.address }
        switch addressing {
        case .dhcp:
            interfaces[index].usesDHCP = true
            if endpoint.network.isDefault && gateway == nil { interfaces[index].takesDHCPRoutes = true }
        case .fixed(let prefix):
            let isNew = !interfaces[index].addresses.contains { $0.address == prefix.address }
            if isNew && interfaces[index].addresses.count < InterfaceSettings.addressLimit { interfaces[index].addresses.append(prefix) }
        case .external: break
        }
        for server in nameservers where !interfaces[index].nameservers.contains(server) {
            if interfaces[index].nameservers.count < InterfaceSettings.nameserverLimit { interfaces[index].nameservers.append(server) }
        }
        endpoints.append(
            VICEndpoint(
                network: endpoint.key, interface: interfaces[index].id, addressing: addressing, gateway: gateway,
                gatewayMask: endpoint.network.gateway.mask, nameservers: nameservers,
                hostName: VICFiles.word(endpoint.network.name, or: endpoint.key)))
    }

    private mutating func name(_ endpoint: VICNetworkEndpoint, _ index: Int) {
        if endpoint.name.isEmpty || interfaces[index].name == endpoint.name { return }
        if let problem = interfaceNameProblem(endpoint.name) {
            warn(endpoint, ["Common", "name"], "\(problem); the adapter keeps the name that it has")
        } else if interfaces[index].name != nil || interfaces.contains(where: { $0.name == endpoint.name }) {
            warn(endpoint, ["Common", "name"], "an adapter has one name, and no other's; the first one's is taken")
        } else {
            interfaces[index].name = endpoint.name
        }
    }

    private mutating func addressing(_ endpoint: VICNetworkEndpoint) -> VICEndpoint.Addressing {
        guard let range = endpoint.ip, !range.ip.bytes.isEmpty, !range.ip.isUnspecified else {
            return endpoint.isStatic ? .external : .dhcp
        }
        if let prefix = range.prefix, prefix.length > 0 { return .fixed(prefix) }
        warn(endpoint, ["ip", "Mask"], "no mask of a network; the adapter gets no address")
        return .external
    }

    private mutating func route(_ endpoint: VICNetworkEndpoint) {
        guard let planned = endpoints.first(where: { $0.network == endpoint.key }), planned.addressing != .external,
            let index = interfaces.firstIndex(where: { $0.id == planned.interface })
        else { return }
        if endpoint.network.isDefault {
            if let gateway = planned.gateway {
                add(RouteSettings(to: nil, via: gateway), index)
            } else if planned.addressing == .dhcp {
                // The way out that DHCP will give.
                destinations.append((nil, true))
            }
            return
        }
        guard let gateway = planned.gateway else {
            if !endpoint.network.destinations.isEmpty {
                warn(endpoint, ["network", "destinations"], "without network/gateway there is no way to them; no route is set")
            }
            return
        }
        for destination in endpoint.network.destinations {
            if let prefix = destination.prefix, prefix.address.isIPv4 == gateway.isIPv4 {
                var route = RouteSettings(to: prefix.length == 0 ? nil : prefix.network, via: gateway)
                // VIC, too, only logs what the kernel says against such a one.
                route.isOptional = true
                add(route, index)
            } else {
                let text = destination.text ?? "nothing"
                warn(endpoint, ["network", "destinations"], "\(text) is no network that \(gateway.text) could lead to; no route is set")
            }
        }
    }

    private mutating func add(_ route: RouteSettings, _ index: Int) {
        var route = route
        let isIPv4 = route.gateway?.isIPv4 ?? true
        if interfaces[index].routes.contains(where: { $0.destination == route.destination && $0.gateway == route.gateway }) { return }
        if interfaces[index].routes.count >= InterfaceSettings.routeLimit { return }
        // The kernel has one route to a destination with a metric; the others stand behind the first, which may be one of DHCP's: those
        // have 100 and more.
        let others = destinations.count { $0.to == route.destination && $0.isIPv4 == isIPv4 }
        if others > 0 { route.metric = (isIPv4 ? 0 : RouteSettings.standardMetric6) &+ 1000 &* UInt32(clamping: others) }
        destinations.append((route.destination, isIPv4))
        interfaces[index].routes.append(route)
    }
}

extension VICAddress {
    /// nil for none, and for 0.0.0.0.
    var address: IPAddress? { isUnspecified ? nil : IPAddress(bytes: ipv4 ?? bytes) }
}

extension VICAddressRange {
    /// nil for no address, or a mask that no network has.
    var prefix: IPPrefix? {
        guard let address = IPAddress(bytes: ip.ipv4 ?? ip.bytes) else { return nil }
        // Go may write an IPv4 mask in 16 bytes, too.
        let isLong = mask.bytes.count == 16 && address.isIPv4 && mask.bytes.prefix(12).allSatisfy { $0 == 0xFF }
        let bytes = isLong ? Array(mask.bytes.suffix(4)) : mask.bytes
        let length = bytes.reduce(0) { $0 + $1.nonzeroBitCount }
        guard let prefix = IPPrefix(address, length: length), prefix.mask == bytes else { return nil }
        return prefix
    }
}
