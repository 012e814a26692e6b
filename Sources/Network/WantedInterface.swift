import ContainerSpec
import Linux

/// How an interface is to be, and what of it was set before.
public struct WantedInterface: Equatable, Sendable {
    /// The entry's name in the configuration.
    public var id: String
    public var match: InterfaceSettings.Match
    /// Which one it was when it was last looked for: by then it may have another name.
    public var knownIndex: UInt32?
    public var name: String?
    public var mtu: UInt32?
    public var addresses: [IPPrefix] = []
    public var routes: [Route] = []
    /// What was set on the interface before.
    public var present = InterfaceParts()

    public init(id: String, match: InterfaceSettings.Match) {
        self.id = id
        self.match = match
    }

    /// Whether an address of the interface is in the gateway's network, or the gateway one that every link has (fe80::/10).
    func reaches(_ gateway: IPAddress) -> Bool {
        if !gateway.isIPv4 && gateway.bytes[0] == 0xFE && gateway.bytes[1] & 0xC0 == 0x80 { return true }
        return addresses.contains { $0.address.isIPv4 == gateway.isIPv4 && $0.network == IPPrefix(gateway, length: $0.length)?.network }
    }

    /// Whether the route's gateway can be reached, where it has one.
    func reaches(_ route: Route) -> Bool { route.gateway.map { reaches($0) } ?? true }

    /// One request, and how an error of it is named.
    struct Step: Equatable {
        var request: RouteRequest
        var operation: String
        var object: String
        /// Errors that say that it is as it should be.
        var harmless: [Int32] = []
    }

    /// What is to be done to `link`, in this order, once it has its name.
    ///
    /// What is no more wanted goes first: it may be in the way of what is. All addresses are set again, which leaves those that are
    /// there as they are, since with the first address of a network the kernel takes away the others; and all routes, since it takes
    /// away those of an address that goes.
    func steps(for link: Link) -> [Step] {
        var steps: [Step] = []
        let index = link.index
        if let mtu, mtu != link.mtu {
            steps.append(Step(request: .setLink(index: index, mtu: mtu), operation: "set MTU", object: "\(mtu) of \(link.name)"))
        }
        if !link.isUp { steps.append(Step(request: .setLink(index: index, isUp: true), operation: "switch on", object: link.name)) }
        for route in present.routes where !routes.contains(route) {
            steps.append(
                Step(
                    request: .removeRoute(index: index, route), operation: "remove route", object: "\(route.description) of \(link.name)",
                    harmless: Self.gone))
        }
        for address in present.addresses where !addresses.contains(address) {
            steps.append(
                Step(
                    request: .removeAddress(index: index, address), operation: "remove address", object: "\(address.text) of \(link.name)",
                    harmless: Self.gone))
        }
        for address in addresses {
            steps.append(
                Step(request: .addAddress(index: index, address), operation: "add address", object: "\(address.text) to \(link.name)"))
        }
        for route in orderedRoutes {
            steps.append(
                Step(
                    request: .addRoute(index: index, route), operation: "add route", object: "\(route.description) to \(link.name)",
                    harmless: present.routes.contains(route) ? Self.there : []))
        }
        return steps
    }

    /// A gateway is reached by a route to it, which has to be there first.
    var orderedRoutes: [Route] { routes.filter { $0.gateway == nil } + routes.filter { $0.gateway != nil } }

    private static let gone = [Errno.noSuchProcess.rawValue, Errno.noAddress.rawValue, Errno.noDevice.rawValue]
    private static let there = [Errno.exists.rawValue]
}

/// The addresses and routes of an interface that were set, and not by somebody else.
public struct InterfaceParts: Equatable, Sendable {
    public var addresses: [IPPrefix] = []
    public var routes: [Route] = []

    public init(addresses: [IPPrefix] = [], routes: [Route] = []) {
        self.addresses = addresses
        self.routes = routes
    }
}

/// What became of a ``WantedInterface``.
public struct InterfaceReport: Equatable, Sendable {
    public enum Outcome: Equatable, Sendable {
        /// There is no such adapter.
        case missing
        /// It is as it was wanted.
        case done
        /// Something of it is not.
        case failed(NetworkError)
    }

    public var id: String
    public var outcome: Outcome
    /// nil where it is missing.
    public var link: Link?
    /// How many of the routes are there, where not all are.
    public var routesSet = 0

    public init(id: String, outcome: Outcome, link: Link? = nil, routesSet: Int = 0) {
        self.id = id
        self.outcome = outcome
        self.link = link
        self.routesSet = routesSet
    }

    /// As a worker sends it.
    public var encoded: [UInt8] {
        var fields = FieldEncoder()
        fields.append(id)
        fields.append(link != nil)
        if let link {
            fields.append(Int64(link.index))
            fields.append(link.name)
            fields.append(link.macAddress)
            fields.append(Int64(link.mtu))
            fields.append(link.isUp)
        }
        switch outcome {
        case .missing: fields.append(Int64(0))
        case .done: fields.append(Int64(1))
        case .failed(let error):
            fields.append(Int64(2))
            fields.append(error.operation)
            fields.append(error.object)
            fields.append(error.cause)
            fields.append(Int64(routesSet))
        }
        return fields.bytes
    }

    /// - Returns: nil for what ``encoded`` has not made.
    public init?(_ bytes: [UInt8]) {
        var fields = FieldDecoder(bytes)
        guard let id = fields.text(), let hasLink = fields.flag() else { return nil }
        self.id = id
        if hasLink {
            guard let index = fields.number().flatMap({ UInt32(exactly: $0) }), let name = fields.text(), let address = fields.field(),
                let mtu = fields.number().flatMap({ UInt32(exactly: $0) }), let isUp = fields.flag()
            else { return nil }
            var link = Link(index: index, name: name)
            link.macAddress = address
            link.mtu = mtu
            link.isUp = isUp
            self.link = link
        }
        switch fields.number() {
        case 0: outcome = .missing
        case 1: outcome = .done
        case 2:
            guard let operation = fields.text(), let object = fields.text(), let cause = fields.text(),
                let routesSet = fields.number().flatMap({ Int(exactly: $0) })
            else { return nil }
            self.routesSet = routesSet
            outcome = .failed(NetworkError(operation, object, cause))
        default: return nil
        }
        if !fields.isAtEnd { return nil }
    }
}
