public import SessionLog

/// What VIC's portlayer tells a container VM, as far as the guest can read it: one field for each of VIC's (its `ExecutorConfig`).
public struct VICExecutorConfig: Equatable, Sendable {
    /// `common/id`: also the id of the session whose end is the VM's.
    public var id = ""
    /// `common/ExecutionEnvironment`, which nobody reads.
    public var executionEnvironment = ""
    /// `createtime`, nanoseconds since 1970.
    public var createTime: Int64 = 0
    public var diagnostics = VICDiagnostics()
    /// The processes of the container, by their id.
    public var sessions: [VICSession] = []
    /// Those added while it runs.
    public var execs: [VICSession] = []
    /// Volumes, by their id.
    public var mounts: [VICMount] = []
    /// Network adapters, by the name of their network.
    public var networks: [VICNetworkEndpoint] = []
    /// `key`: the PEM of the host key for attaching.
    public var hostKey: [UInt8] = []
    public var layerID = ""
    public var imageID = ""
    /// `repo`: the image's name.
    public var repository = ""
    public var version: VICVersion?
    /// `asymrouting`.
    public var asymmetricRouting = false
    public var hostname = ""
    public var domainname = ""

    public init() {}
}

/// A process and its streams (VIC's `SessionConfig`).
public struct VICSession: Equatable, Sendable {
    /// Its name in the map.
    public var key = ""
    /// `common/id`.
    public var id = ""
    /// `common/name`.
    public var name = ""
    public var executionEnvironment = ""
    /// `cmd/Path`.
    public var path = ""
    /// `cmd/Args`, the command's name first.
    public var args: [String] = []
    /// `cmd/Env`.
    public var env: [String] = []
    /// `cmd/Dir`.
    public var directory = ""
    /// May be attached to.
    public var attach = false
    public var openStdin = false
    /// Waits to be attached to before it is started. The guest clears it.
    public var runBlock = false
    /// Is to run: true also where the key is absent.
    public var active = true
    public var tty = false
    /// Is started again whenever it ends.
    public var restart = false
    /// A name with or without SIG, or a number; SIGTERM where it is empty.
    public var stopSignal = ""
    public var user = ""
    public var group = ""
    public var diagnostics = VICDiagnostics()
    /// `detail.createtime`, seconds since 1970, as those below.
    public var createTime: Int64 = 0
    public var startTime: Int64 = 0
    public var stopTime: Int64 = 0
    /// `status`.
    public var exitStatus: Int64 = 0
    /// Empty before the start, `true` after it, otherwise why there was none.
    public var started = ""
    /// Why the keys of an exec cannot be understood; nil where they can. It has no key.
    public var problem: String?

    public init() {}
}

/// `diagnostics`.
public struct VICDiagnostics: Equatable, Sendable {
    /// 0–4; from 1 on there is more on the diagnostics port.
    public var debug: Int64 = 0
    /// How often it was started again. The guest's to write.
    public var resurrections: Int64 = 0
    /// Never written by anybody.
    public var exitLogs: [VICExitLog] = []
    public var syslog: VICSyslog?

    public init() {}
}

/// An entry of `exitlogs`.
public struct VICExitLog: Equatable, Sendable {
    public var time = Timestamp(nanoseconds: 0)
    public var exitStatus: Int64 = 0
    public var message = ""

    public init() {}
}

/// `syslog`: a server that gets the output as well.
public struct VICSyslog: Equatable, Sendable {
    /// `udp`, `tcp`, `udp6`, `tcp6`.
    public var network = ""
    /// `host:port`.
    public var address = ""

    public init() {}
}

/// `version`: which build of VIC made the configuration.
public struct VICVersion: Equatable, Sendable {
    public var version = ""
    public var gitCommit = ""
    public var buildDate = ""
    public var buildNumber = ""
    public var state = ""
    public var pluginVersion: Int64 = 0

    public init() {}
}

/// A volume.
public struct VICMount: Equatable, Sendable {
    /// Its id, and name in the map.
    public var key = ""
    /// `label://…` for a disk, `nfs://host/path`.
    public var source = VICURL()
    /// `dest`.
    public var destination = ""
    /// `rw`, `ro`, or the options of NFS.
    public var mode = ""
    /// 1: never, 2: the image's files go into a volume that is empty.
    public var copyMode: Int64 = 0

    public init() {}
}

/// A URL (RFC 3986), taken apart as Go's `net/url` does it.
public struct VICURL: Equatable, Sendable {
    public var scheme = ""
    public var opaque = ""
    public var host = ""
    public var path = ""
    public var rawPath = ""
    public var forceQuery = false
    public var rawQuery = ""
    public var fragment = ""

    public init() {}

    /// For messages.
    public var text: String {
        scheme + (opaque.isEmpty ? "://" + host + path : ":" + opaque) + (rawQuery.isEmpty && !forceQuery ? "" : "?" + rawQuery)
            + (fragment.isEmpty ? "" : "#" + fragment)
    }
}

/// A network adapter (VIC's `NetworkEndpoint`).
public struct VICNetworkEndpoint: Equatable, Sendable {
    /// The network's name, and name in the map.
    public var key = ""
    /// `Common/id`: the number of the adapter's PCI slot, in decimal.
    public var id = ""
    /// `Common/name`: what the interface shall be called.
    public var name = ""
    public var executionEnvironment = ""
    /// The address is the configuration's, and not DHCP's.
    public var isStatic = false
    public var ip: VICAddressRange?
    /// What the adapter got. The guest's to write.
    public var assigned = VICAddressRange()
    public var network = VICNetwork()
    /// `80/tcp`, `8080:80/tcp`, ranges with `-`.
    public var ports: [String] = []
    public var isInternal = false

    public init() {}

    /// What may come in and go out.
    public var trust: VICTrust { VICTrust(rawValue: network.trustLevel) ?? .unspecified }

    /// A port is to be reached by another number: `8080:80/tcp`.
    public var redirects: Bool { ports.contains { $0.utf8.contains(UInt8(ascii: ":")) } }
}

/// `TrustLevel`. Any other number is taken for unspecified.
public enum VICTrust: Int64, Sendable, CustomStringConvertible {
    /// As published.
    case unspecified = 0
    /// Only what is in `ports` comes in; all goes out.
    case published = 1
    case open = 2
    /// Nothing comes in or goes out.
    case closed = 3
    /// Nothing comes in; all goes out.
    case outbound = 4
    /// As outbound, and whatever comes from `pools` comes in.
    case peers = 5

    public var description: String {
        switch self {
        case .unspecified: "unspecified, and so published"
        case .published: "published"
        case .open: "open"
        case .closed: "closed"
        case .outbound: "outbound"
        case .peers: "peers"
        }
    }
}

/// The network that an adapter is on (VIC's `ContainerNetwork`).
public struct VICNetwork: Equatable, Sendable {
    public var id = ""
    public var name = ""
    public var executionEnvironment = ""
    /// `bridge` or `external`.
    public var type = ""
    /// What is reached through the gateway, where that is not the default route.
    public var destinations: [VICAddressRange] = []
    public var gateway = VICAddressRange()
    /// The gateway is the default route.
    public var isDefault = false
    public var nameservers: [VICAddress] = []
    public var pools: [VICAddressPool] = []
    /// ``VICTrust``
    public var trustLevel: Int64 = 0
    /// What DHCP said. The guest's to write.
    public var assignedGateway = VICAddressRange()
    public var assignedNameservers: [VICAddress] = []

    public init() {}
}

/// An IP address or mask: nothing, 4 bytes, or 16 bytes.
public struct VICAddress: Equatable, Sendable {
    public var bytes: [UInt8]

    public init(_ bytes: [UInt8] = []) { self.bytes = bytes }

    /// The four bytes of an IPv4 address, also of one that is written as IPv6 (`::ffff:10.0.0.1`); nil for another.
    public var ipv4: [UInt8]? {
        if bytes.count == 4 { return bytes }
        let isMapped = bytes.count == 16 && bytes.prefix(10).allSatisfy { $0 == 0 } && bytes[10] == 0xFF && bytes[11] == 0xFF
        return isMapped ? Array(bytes.suffix(4)) : nil
    }

    /// `10.0.0.1`, or eight groups of IPv6 in hexadecimal; nil for none.
    public var text: String? {
        if let ipv4 { return "\(ipv4[0]).\(ipv4[1]).\(ipv4[2]).\(ipv4[3])" }
        guard bytes.count == 16 else { return nil }
        var text = ""
        for index in stride(from: 0, to: 16, by: 2) {
            if index > 0 { text += ":" }
            text += String(UInt16(bytes[index]) << 8 | UInt16(bytes[index + 1]), radix: 16)
        }
        return text
    }

    /// 0.0.0.0 or ::.
    public var isUnspecified: Bool { !bytes.isEmpty && (ipv4 ?? bytes).allSatisfy { $0 == 0 } }
}

/// An address and the mask of its network (Go's `net.IPNet`).
public struct VICAddressRange: Equatable, Sendable {
    public var ip = VICAddress()
    public var mask = VICAddress()

    public init() {}

    /// `10.0.0.5/24`; nil for none.
    public var text: String? {
        guard let address = ip.text else { return nil }
        if mask.bytes.isEmpty { return address }
        return "\(address)/\(mask.bytes.reduce(0) { $0 + $1.nonzeroBitCount })"
    }
}

/// A range of addresses.
public struct VICAddressPool: Equatable, Sendable {
    public var first = VICAddress()
    public var last = VICAddress()

    public init() {}
}
