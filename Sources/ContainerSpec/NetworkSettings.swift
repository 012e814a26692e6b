/// `tether.network`: the VM's network adapters, as version 2 of cloud-init's network configuration has them (netplan's form, in
/// JSON; docs/configuration.md has the part of it that is honoured).
public struct NetworkSettings: Equatable, Sendable {
    /// In the order of the configuration, in which they are set up. No two of them match the same name, address or slot, or have a
    /// route with the same destination and metric.
    public var interfaces: [InterfaceSettings] = []

    public init() {}
}

/// One of `ethernets`.
public struct InterfaceSettings: Equatable, Sendable {
    /// Which adapter is meant.
    public enum Match: Equatable, Sendable {
        /// `match.name`, or the entry's own name: the name that the kernel gives, `eth0`. No patterns.
        case name(String)
        /// `match.macaddress`: six bytes.
        case macAddress([UInt8])
        /// The slot that VMware's `ethernetN.pciSlotNumber` gives: bits 0…4 are the device, 5…9 the bridge, 10…12 the bridge's function.
        case pciSlot(UInt32)
    }

    /// The entry's name in the configuration, for messages and the status.
    public var id: String
    public var match: Match
    /// `set-name`: what the interface is called then, at most 15 bytes; nil leaves its name.
    public var name: String?
    /// `dhcp4`: an IPv4 address, routes, name servers and a domain come by DHCP.
    public var usesDHCP = false
    /// `dhcp4-overrides.use-routes`: the routes that DHCP gives are set, that to its router as the default route among them. Without
    /// it they are not; the router is still what the server says the gateway is.
    public var takesDHCPRoutes = true
    /// `addresses`, each once.
    public var addresses: [IPPrefix] = []
    public var routes: [RouteSettings] = []
    /// `nameservers.addresses`; before those that DHCP gives.
    public var nameservers: [IPAddress] = []
    /// `nameservers.search`.
    public var searchDomains: [String] = []
    /// `mtu`, 68…65535 bytes; nil leaves the driver's.
    public var mtu: UInt32?
    /// `optional`: the container does not wait for this adapter, and runs without it.
    public var isOptional = false

    public init(id: String, match: Match) {
        self.id = id
        self.match = match
    }
}

/// One of `routes`.
public struct RouteSettings: Equatable, Sendable {
    /// `to`, with no bits behind its prefix; nil for `default`, which has a gateway.
    public var destination: IPPrefix?
    /// `via`, of the destination's family; nil for a destination that is on the link itself.
    public var gateway: IPAddress?
    /// `metric`; nil is 0, and ``standardMetric6`` for IPv6.
    public var metric: UInt32?
    /// What the kernel says against it is no failure. VIC's dialect has such routes; `tether.network` has no property for it.
    public var isOptional = false

    /// That of IPv6 routes without one. The kernel would take 1024, which is also that of a route that a router advertises: whichever
    /// comes first would keep the other one out.
    public static let standardMetric6: UInt32 = 512

    public init(to destination: IPPrefix?, via gateway: IPAddress?) {
        self.destination = destination
        self.gateway = gateway
    }
}
