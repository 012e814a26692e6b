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
    /// The MTU is not of the configuration: what the kernel says against it is no failure.
    public var isMTUOptional = false
    public var addresses: [IPPrefix] = []
    public var routes: [Route] = []
    /// What was set on the interface before.
    public var present = InterfaceParts()
    /// It was set up like this already: nobody else gets its adapter, and nothing is done to it.
    public var isSettled = false

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

    /// Whether the interface is to be the same, whatever was there before.
    func isWanted(like other: WantedInterface) -> Bool {
        var other = other
        (other.knownIndex, other.present, other.isSettled) = (knownIndex, present, isSettled)
        return self == other
    }

    /// One request, and how an error of it is named.
    struct Step: Equatable {
        /// What is there when it is done: an element of `addresses`, or of `orderedRoutes`.
        enum Part: Equatable { case none, address(Int), route(Int) }

        var request: RouteRequest
        var operation: String
        var object: String
        /// Errors that say that it is as it should be.
        var harmless: [Int32] = []
        /// What the rest works without, and a DHCP server wants, for example: an error of it is told, and the next step taken.
        var isOptional = false
        var part = Part.none
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
            steps.append(
                Step(
                    request: .setLink(index: index, mtu: mtu), operation: "set MTU", object: "\(mtu) of \(link.name)",
                    isOptional: isMTUOptional))
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
        for (position, address) in addresses.enumerated() {
            steps.append(
                Step(
                    request: .addAddress(index: index, address), operation: "add address", object: "\(address.text) to \(link.name)",
                    part: .address(position)))
        }
        for (position, route) in orderedRoutes.enumerated() {
            steps.append(
                Step(
                    request: .addRoute(index: index, route), operation: "add route", object: "\(route.description) to \(link.name)",
                    harmless: present.routes.contains(route) ? Self.there : [], isOptional: route.isOptional, part: .route(position)))
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
