import CLinux
import ContainerSpec
import Linux

/// A network interface as the kernel describes it (rtnetlink(7), RTM_NEWLINK).
public struct Link: Equatable, Sendable {
    public var index: UInt32
    public var name: String
    /// Six bytes with Ethernet.
    public var macAddress: [UInt8] = []
    public var mtu: UInt32 = 0
    /// IFF_UP: it was switched on.
    public var isUp = false
    /// IFF_RUNNING: and it has a carrier.
    public var isRunning = false

    public init(index: UInt32, name: String) {
        self.index = index
        self.name = name
    }
}

/// An address of an interface (RTM_NEWADDR).
public struct LinkAddress: Equatable, Sendable {
    public var index: UInt32
    public var prefix: IPPrefix
    /// Whether nobody else has it is still being found out (RFC 4862, section 5.4).
    public var isTentative = false
    /// Somebody else has it.
    public var isDuplicate = false

    public init(index: UInt32, prefix: IPPrefix) {
        self.index = index
        self.prefix = prefix
    }
}

/// A route in the main table.
public struct Route: Equatable, Sendable {
    /// Who has set it, which `ip route` shows.
    public enum Origin: UInt8, Sendable { case configuration = 4, dhcp = 16 }

    /// nil is the default route.
    public var destination: IPPrefix?
    /// nil for what is on the link itself.
    public var gateway: IPAddress?
    public var isIPv4: Bool
    /// nil is 0, and ``RouteSettings/standardMetric6`` for IPv6.
    public var metric: UInt32?
    public var origin: Origin
    /// The gateway is on the link although no address of the interface says so.
    public var isGatewayOnLink = false
    /// What the kernel says against it is no failure: an error of it is told, and the rest done.
    public var isOptional = false

    public init(to destination: IPPrefix?, via gateway: IPAddress?, metric: UInt32?, origin: Origin) {
        self.destination = destination
        self.gateway = gateway
        self.metric = metric
        self.origin = origin
        isOptional = origin == .dhcp
        isIPv4 = (gateway ?? destination?.address)?.isIPv4 ?? true
    }

    /// One of the configuration's.
    init(_ settings: RouteSettings) {
        self.init(to: settings.destination, via: settings.gateway, metric: settings.metric, origin: .configuration)
        isOptional = settings.isOptional
    }

    /// "default via 192.0.2.1"
    public var description: String {
        (destination?.text ?? "default") + (gateway.map { " via " + $0.text } ?? "")
    }
}

/// What is asked of the kernel.
public enum RouteRequest: Equatable, Sendable {
    case links
    /// The IPv6 addresses of all interfaces.
    case addresses6
    /// Changes what is not nil.
    case setLink(index: UInt32, isUp: Bool? = nil, name: String? = nil, mtu: UInt32? = nil)
    /// Adds the address, or leaves it there.
    case addAddress(index: UInt32, IPPrefix)
    case removeAddress(index: UInt32, IPPrefix)
    /// Adds the route; EEXIST where there is one to the same destination with the same metric.
    case addRoute(index: UInt32, Route)
    case removeRoute(index: UInt32, Route)

    // linux/netlink.h
    private static let request: UInt16 = 1
    private static let acknowledge: UInt16 = 4
    private static let dump: UInt16 = 0x300
    private static let replace: UInt16 = 0x100
    private static let exclusive: UInt16 = 0x200
    private static let create: UInt16 = 0x400

    /// Answered by many messages, of which the last says so.
    public var isDump: Bool { self == .links || self == .addresses6 }

    /// The message (RFC 3549, section 3; rtnetlink(7)).
    public func message(sequence: UInt32) -> NetlinkMessage {
        var payload: [UInt8] = []
        func message(_ type: UInt16, _ flags: UInt16) -> NetlinkMessage {
            NetlinkMessage(type: type, flags: RouteRequest.request | flags, sequence: sequence, payload: payload)
        }
        switch self {
        case .links:
            RouteRequest.appendLink(index: 0, flags: 0, change: 0, to: &payload)
            return message(RouteType.getLink, RouteRequest.dump)
        case .addresses6:
            payload = [UInt8(AF_INET6), 0, 0, 0, 0, 0, 0, 0]
            return message(RouteType.getAddress, RouteRequest.dump)
        case .setLink(let index, let isUp, let name, let mtu):
            let up = UInt32(1)  // IFF_UP
            RouteRequest.appendLink(index: index, flags: isUp == true ? up : 0, change: isUp == nil ? 0 : up, to: &payload)
            if let name { NetlinkAttributes.append(LinkAttribute.name, name, to: &payload) }
            if let mtu { NetlinkAttributes.append(LinkAttribute.mtu, mtu, to: &payload) }
            return message(RouteType.setLink, RouteRequest.acknowledge)
        case .addAddress(let index, let prefix):
            RouteRequest.append(index, prefix, to: &payload)
            return message(RouteType.newAddress, RouteRequest.acknowledge | RouteRequest.create | RouteRequest.replace)
        case .removeAddress(let index, let prefix):
            RouteRequest.append(index, prefix, to: &payload)
            return message(RouteType.deleteAddress, RouteRequest.acknowledge)
        case .addRoute(let index, let route):
            RouteRequest.append(index, route, scope: route.gateway == nil && route.isIPv4 ? 253 : 0, to: &payload)
            return message(RouteType.newRoute, RouteRequest.acknowledge | RouteRequest.create | RouteRequest.exclusive)
        case .removeRoute(let index, let route):
            // RT_SCOPE_NOWHERE: whatever its scope.
            RouteRequest.append(index, route, scope: 255, to: &payload)
            return message(RouteType.deleteRoute, RouteRequest.acknowledge)
        }
    }

    /// struct ifinfomsg
    private static func appendLink(index: UInt32, flags: UInt32, change: UInt32, to payload: inout [UInt8]) {
        payload += [UInt8(AF_UNSPEC), 0, 0, 0]
        LittleEndian.append(index, to: &payload)
        LittleEndian.append(flags, to: &payload)
        LittleEndian.append(change, to: &payload)
    }

    /// struct ifaddrmsg, and the address itself.
    private static func append(_ index: UInt32, _ prefix: IPPrefix, to payload: inout [UInt8]) {
        let bytes = prefix.address.bytes
        payload += [UInt8(prefix.address.isIPv4 ? AF_INET : AF_INET6), UInt8(clamping: prefix.length), 0, 0]
        LittleEndian.append(index, to: &payload)
        NetlinkAttributes.append(AddressAttribute.local, bytes, to: &payload)
        NetlinkAttributes.append(AddressAttribute.address, bytes, to: &payload)
        // A network of two has no broadcast (RFC 3021).
        if prefix.address.isIPv4, prefix.length <= 30 {
            let broadcast = zip(bytes, prefix.mask).map { $0 | ~$1 }
            NetlinkAttributes.append(AddressAttribute.broadcast, broadcast, to: &payload)
        }
    }

    /// struct rtmsg, and what it says of the route.
    private static func append(_ index: UInt32, _ route: Route, scope: UInt8, to payload: inout [UInt8]) {
        let unicast: UInt8 = 1
        let mainTable: UInt8 = 254
        payload += [UInt8(route.isIPv4 ? AF_INET : AF_INET6), UInt8(clamping: route.destination?.length ?? 0), 0, 0]
        payload += [mainTable, route.origin.rawValue, scope, unicast]
        LittleEndian.append(UInt32(route.isGatewayOnLink ? 4 : 0), to: &payload)  // RTNH_F_ONLINK
        if let destination = route.destination {
            NetlinkAttributes.append(RouteAttribute.destination, destination.network.address.bytes, to: &payload)
        }
        if let gateway = route.gateway { NetlinkAttributes.append(RouteAttribute.gateway, gateway.bytes, to: &payload) }
        NetlinkAttributes.append(RouteAttribute.interface, index, to: &payload)
        if let metric = route.metric ?? (route.isIPv4 ? nil : RouteSettings.standardMetric6) {
            NetlinkAttributes.append(RouteAttribute.metric, metric, to: &payload)
        }
    }
}

/// What the kernel answers, or tells unasked.
public enum RouteAnswer: Equatable, Sendable {
    case link(Link)
    case linkGone(index: UInt32)
    case address(LinkAddress)
    /// The last of many.
    case done
    case acknowledged
    /// A request failed; `text` is the kernel's own, and often empty.
    case failed(Errno, text: String)

    /// - Returns: nil for what is of no interest, or damaged.
    public init?(_ message: NetlinkMessage) {
        let payload = message.payload[...]
        switch message.type {
        case RouteType.newLink:
            guard let link = RouteAnswer.link(payload) else { return nil }
            self = .link(link)
        case RouteType.deleteLink:
            guard let index = LittleEndian.uint32(payload, 4) else { return nil }
            self = .linkGone(index: index)
        case RouteType.newAddress:
            guard let address = RouteAnswer.address(payload) else { return nil }
            self = .address(address)
        case RouteType.done:
            // A dump that could not go on ends with the reason, negative.
            let code = LittleEndian.uint32(payload, 0) ?? 0
            self = code == 0 ? .done : .failed(Errno(rawValue: Int32(truncatingIfNeeded: 0 &- code)), text: "")
        case RouteType.error:
            guard let error = RouteAnswer.error(message) else { return nil }
            self = error
        default: return nil
        }
    }

    private static func link(_ payload: ArraySlice<UInt8>) -> Link? {
        guard let index = LittleEndian.uint32(payload, 4), let flags = LittleEndian.uint32(payload, 8), payload.count >= 16 else {
            return nil
        }
        var link = Link(index: index, name: "")
        link.isUp = flags & 1 != 0
        link.isRunning = flags & 0x40 != 0
        NetlinkAttributes.forEach(payload.dropFirst(16)) { type, value in
            switch type {
            case LinkAttribute.name: link.name = NetlinkAttributes.text(value)
            case LinkAttribute.address: link.macAddress = Array(value)
            case LinkAttribute.mtu: link.mtu = LittleEndian.uint32(value, 0) ?? 0
            default: break
            }
        }
        return link.name.isEmpty || index == 0 ? nil : link
    }

    private static func address(_ payload: ArraySlice<UInt8>) -> LinkAddress? {
        guard payload.count >= 8, let index = LittleEndian.uint32(payload, 4) else { return nil }
        let length = Int(payload[payload.startIndex + 1])
        var flags = UInt32(payload[payload.startIndex + 2])
        var bytes: [UInt8] = []
        NetlinkAttributes.forEach(payload.dropFirst(8)) { type, value in
            switch type {
            case AddressAttribute.address: if bytes.isEmpty { bytes = Array(value) }
            case AddressAttribute.local: bytes = Array(value)
            case AddressAttribute.flags: flags = LittleEndian.uint32(value, 0) ?? flags
            default: break
            }
        }
        guard let address = IPAddress(bytes: bytes), let prefix = IPPrefix(address, length: length) else { return nil }
        var found = LinkAddress(index: index, prefix: prefix)
        found.isTentative = flags & 0x40 != 0  // IFA_F_TENTATIVE
        found.isDuplicate = flags & 0x08 != 0  // IFA_F_DADFAILED
        return found
    }

    private static func error(_ message: NetlinkMessage) -> RouteAnswer? {
        let payload = message.payload[...]
        guard let code = LittleEndian.uint32(payload, 0), let length = LittleEndian.uint32(payload, 4) else { return nil }
        if code == 0 { return .acknowledged }
        // The number is negative.
        let errno = Errno(rawValue: Int32(truncatingIfNeeded: 0 &- code))
        var text = ""
        let isCapped: UInt16 = 0x100
        let hasText: UInt16 = 0x200
        if message.flags & hasText != 0 {
            // The request's header always comes back, what follows it only where the error is not capped.
            let request = message.flags & isCapped != 0 ? NetlinkMessage.headerSize : max(NetlinkMessage.headerSize, Int(clamping: length))
            NetlinkAttributes.forEach(payload.dropFirst(4).dropFirst((request + 3) & ~3)) { type, value in
                if type == 1 { text = NetlinkAttributes.text(value) }  // NLMSGERR_ATTR_MSG
            }
        }
        return .failed(errno, text: text)
    }
}

/// linux/netlink.h, linux/rtnetlink.h
enum RouteType {
    static let error: UInt16 = 2
    static let done: UInt16 = 3
    static let newLink: UInt16 = 16
    static let deleteLink: UInt16 = 17
    static let getLink: UInt16 = 18
    static let setLink: UInt16 = 19
    static let newAddress: UInt16 = 20
    static let deleteAddress: UInt16 = 21
    static let getAddress: UInt16 = 22
    static let newRoute: UInt16 = 24
    static let deleteRoute: UInt16 = 25
}

/// linux/if_link.h, IFLA_*
enum LinkAttribute {
    static let address: UInt16 = 1
    static let name: UInt16 = 3
    static let mtu: UInt16 = 4
}

/// linux/if_addr.h, IFA_*
enum AddressAttribute {
    static let address: UInt16 = 1
    static let local: UInt16 = 2
    static let broadcast: UInt16 = 4
    static let flags: UInt16 = 8
}

/// linux/rtnetlink.h, RTA_*
enum RouteAttribute {
    static let destination: UInt16 = 1
    static let interface: UInt16 = 4
    static let gateway: UInt16 = 5
    static let metric: UInt16 = 6
}
