import ContainerSpec

/// What a DHCP server gives (RFC 2131).
public struct Lease: Equatable, Sendable {
    public var address: IPPrefix
    /// Without metric and interface, in the server's order.
    public var routes: [Route] = []
    public var nameservers: [IPAddress] = []
    /// The domains in which names are looked for: option 119, else 15.
    public var searchDomains: [String] = []
    /// Option 26, where it is 576 or more.
    public var mtu: UInt32?
    /// Seconds; nil is for ever.
    public var seconds: Int64?
    /// The server's address.
    public var server: IPAddress?
    /// What the server said and is not used, for a warning: "dns 0.0.0.0".
    public var ignored: [String] = []

    public init(address: IPPrefix) { self.address = address }

    /// Whether the adapter is to be the same with `other`, which may last longer.
    func isSet(like other: Lease) -> Bool {
        var other = other
        (other.seconds, other.server, other.ignored) = (seconds, server, ignored)
        return self == other
    }
}

/// What a DHCP client says has happened.
public enum LeaseEvent: Equatable, Sendable {
    /// There is no lease, or no more. Also a client that begins says so.
    case none
    /// There is a lease: a new one, or the old one for a longer time.
    case lease(Lease)
    /// No server has answered.
    case noAnswer
    /// The server refused what was asked of it.
    case refused
}

/// The message in which udhcpc's script hands on what it was called with: its first argument and its environment, as texts with
/// a zero byte behind each.
public enum LeaseMessage {
    /// The longest message; the script has nothing longer to say.
    public static let limit = 16_384
    /// The variables of the environment that count; the script sends no other.
    public static let variables = [
        "ip", "mask", "subnet", "router", "dns", "domain", "search", "staticroutes", "lease", "serverid", "mtu",
    ]
    /// The client keeps a lease at least as long as this, whatever the server says, and asks for a longer time after half of it.
    private static let shortest: Int64 = 30
    private static let mostRoutes = 64
    private static let mostNameservers = 16
    private static let mostDomains = 16
    private static let mostIgnored = 8

    /// The message for `event` with `environment`, "name=value" each.
    /// - Returns: nil where it would be too long.
    public static func encode(_ event: String, _ environment: [String]) -> [UInt8]? {
        var bytes = Array(event.utf8) + [0]
        for entry in environment {
            let name = String(Substring(entry.utf8.prefix { $0 != UInt8(ascii: "=") }))
            if variables.contains(name) { bytes += Array(entry.utf8) + [0] }
        }
        return bytes.count <= limit ? bytes : nil
    }

    /// Decodes a message. What a server sends comes through here: what is no address is left out, and what cannot do without is
    /// an error.
    public static func decode(_ message: [UInt8]) throws(NetworkError) -> LeaseEvent {
        func refuse(_ cause: String) -> NetworkError { NetworkError("decode", "the DHCP client's message", cause) }
        guard message.count <= limit else { throw refuse("it is longer than \(limit) bytes") }
        guard message.last == 0 else { throw refuse("its end is missing") }
        var parts: [String] = []
        for part in message.dropLast().split(separator: 0, omittingEmptySubsequences: false) {
            parts.append(String(decoding: part, as: UTF8.self))
        }
        var values: [String: String] = [:]
        for part in parts.dropFirst() {
            guard let equals = part.utf8.firstIndex(of: UInt8(ascii: "=")) else { throw refuse("it has a word without a value") }
            values[String(Substring(part.utf8[..<equals]))] = String(Substring(part.utf8[part.utf8.index(after: equals)...]))
        }
        switch parts[0] {
        case "deconfig": return .none
        case "leasefail": return .noAnswer
        case "nak": return .refused
        case "bound", "renew": return .lease(try lease(values))
        default: throw refuse("it tells of \(printable(parts[0])), which is no event")
        }
    }

    private static func lease(_ values: [String: String]) throws(NetworkError) -> Lease {
        func refuse(_ cause: String) -> NetworkError { NetworkError("dhcp", "the server's lease", cause) }
        guard let text = values["ip"] else { throw refuse("it has no address") }
        guard let address = host(text) else { throw refuse("\(printable(text)) is no address that a machine can have") }
        guard let length = try prefixLength(values, address), let prefix = IPPrefix(address, length: length) else {
            throw refuse("its subnet mask \(printable(values["subnet"] ?? values["mask"] ?? "")) is none")
        }
        var lease = Lease(address: prefix)
        var ignored: [String] = []
        func ignore(_ name: String, _ word: String) { if ignored.count < mostIgnored { ignored.append("\(name) \(printable(word))") } }
        lease.routes = routes(values, ignore)
        for word in words(values["dns"]) {
            guard lease.nameservers.count < mostNameservers, let server = host(word) else { ignore("dns", word); continue }
            if !lease.nameservers.contains(server) { lease.nameservers.append(server) }
        }
        let search = words(values["search"])
        for word in search.isEmpty ? Array(words(values["domain"]).prefix(1)) : search {
            guard lease.searchDomains.count < mostDomains, isDomain(word) else { ignore("domain", word); continue }
            if !lease.searchDomains.contains(word) { lease.searchDomains.append(word) }
        }
        if let text = values["mtu"] {
            // RFC 791: what every machine takes. Less than that, and no IPv4 packet of a usual size goes through.
            if let mtu = UInt32(text), (576...65_535).contains(mtu) { lease.mtu = mtu } else { ignore("mtu", text) }
        }
        if let text = values["lease"] {
            guard let seconds = UInt32(text), seconds > 0 else { throw refuse("\(printable(text)) is no time that it lasts") }
            // RFC 2131, section 3.3: all ones is for ever.
            if seconds != .max { lease.seconds = max(Int64(seconds), shortest) }
        }
        lease.server = values["serverid"].flatMap { host($0) }
        lease.ignored = ignored
        return lease
    }

    /// - Returns: nil for a mask that is none.
    private static func prefixLength(_ values: [String: String], _ address: IPAddress) throws(NetworkError) -> Int? {
        if let text = values["subnet"] {
            guard let mask = IPAddress(text), mask.isIPv4 else { return nil }
            var bits: UInt32 = 0
            for byte in mask.bytes { bits = bits << 8 | UInt32(byte) }
            let length = (~bits).leadingZeroBitCount
            // Ones, then zeros.
            guard length > 0, bits == (length == 32 ? .max : ~(UInt32.max >> UInt32(length))) else { return nil }
            return length
        }
        if let text = values["mask"] {
            guard let length = Int(text), (1...32).contains(length) else { return nil }
            return length
        }
        // A server that says nothing means what the address's class said, before there were masks.
        switch address.bytes[0] {
        case ..<128: return 8
        case ..<192: return 16
        default: return 24
        }
    }

    private static func routes(_ values: [String: String], _ ignore: (String, String) -> Void) -> [Route] {
        var routes: [Route] = []
        let classless = words(values["staticroutes"])
        // RFC 3442: where they are there, the routers are not looked at.
        if !classless.isEmpty {
            for index in stride(from: 0, to: classless.count - 1, by: 2) {
                let (to, via) = (classless[index], classless[index + 1])
                guard routes.count < mostRoutes, let destination = IPPrefix(to), destination.address.isIPv4, let gateway = IPAddress(via),
                    gateway.isIPv4, gateway.isUnspecified || host(via) != nil
                else {
                    ignore("route", "\(to) via \(via)")
                    continue
                }
                let route = Route(
                    to: destination.length == 0 ? nil : destination.network, via: gateway.isUnspecified ? nil : gateway, metric: nil,
                    origin: .dhcp)
                // The kernel has one to each destination.
                if routes.contains(where: { $0.destination == route.destination }) {
                    ignore("route", "\(to) via \(via)")
                } else {
                    routes.append(route)
                }
            }
            if classless.count % 2 == 1, let last = classless.last { ignore("route", last) }
            return routes
        }
        // In the order of preference: the first that can be one is the way out.
        for word in words(values["router"]) {
            guard let gateway = host(word) else { ignore("router", word); continue }
            if routes.isEmpty { routes.append(Route(to: nil, via: gateway, metric: nil, origin: .dhcp)) }
        }
        return routes
    }

    /// An IPv4 address that one machine can have.
    private static func host(_ text: String) -> IPAddress? {
        guard let address = IPAddress(text), address.isIPv4 else { return nil }
        let first = address.bytes[0]
        return first == 0 || first == 127 || first >= 224 ? nil : address
    }

    private static func words(_ text: String?) -> [String] {
        (text ?? "").utf8.split(separator: 0x20).map { String(Substring($0)) }
    }

    /// Letters, digits, hyphens, underscores and dots: in resolv.conf(5) anything else could be a line of its own.
    private static func isDomain(_ text: String) -> Bool {
        let isAllowed = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
            case UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."): true
            default: false
            }
        }
        return isAllowed && (1...253).contains(text.utf8.count) && text.utf8.first != UInt8(ascii: ".")
    }

    private static func printable(_ text: String) -> String {
        String(decoding: text.utf8.prefix(64).map { $0 < 0x20 || $0 >= 0x7F ? UInt8(ascii: "?") : $0 }, as: UTF8.self)
    }
}
