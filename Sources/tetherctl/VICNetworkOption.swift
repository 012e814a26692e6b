import ArgumentParser
import ContainerSpec
import VIC

extension VICNetworkEndpoint {
    /// An adapter that asks DHCP.
    init(dhcp network: String, slot: Int, isDefault: Bool) {
        self.init()
        key = network
        id = "\(slot)"
        self.network.name = network
        self.network.type = "external"
        self.network.isDefault = isDefault
        // What a VIC without a firewall would be told: nothing is closed.
        self.network.trustLevel = VICTrust.open.rawValue
    }
}

/// `--network name=web,slot=1184,address=10.2.0.5/16,gateway=10.2.0.1,dns=10.2.0.2,default`.
struct VICNetworkOption: ExpressibleByArgument {
    let endpoint: VICNetworkEndpoint

    init?(argument: String) {
        var endpoint = VICNetworkEndpoint(dhcp: "", slot: 0, isDefault: false)
        endpoint.id = ""
        var gateway: IPAddress?
        var mask: [UInt8] = []
        for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
            let name = part.prefix { $0 != "=" }
            let value = String(part.dropFirst(name.count + 1))
            switch name {
            case "name":
                endpoint.key = value
                endpoint.network.name = value
            case "slot":
                guard let slot = UInt32(value) else { return nil }
                endpoint.id = "\(slot)"
            case "interface": endpoint.name = value
            case "address":
                guard let prefix = IPPrefix(value) else { return nil }
                endpoint.isStatic = true
                mask = prefix.mask
                endpoint.ip = VICAddressRange(prefix.address, mask: mask)
            case "gateway":
                guard let address = IPAddress(value) else { return nil }
                gateway = address
            case "dns":
                guard let address = IPAddress(value) else { return nil }
                endpoint.network.nameservers.append(VICAddress(address.bytes))
            case "destination":
                guard let prefix = IPPrefix(value) else { return nil }
                endpoint.network.destinations.append(VICAddressRange(prefix.network.address, mask: prefix.mask))
            case "trust":
                guard let level = Int64(value) else { return nil }
                endpoint.network.trustLevel = level
            case "port": endpoint.ports.append(value)
            case "default" where name.count == part.count: endpoint.network.isDefault = true
            case "internal" where name.count == part.count: endpoint.isInternal = true
            default: return nil
            }
        }
        if endpoint.key.isEmpty || endpoint.id.isEmpty { return nil }
        if let gateway { endpoint.network.gateway = VICAddressRange(gateway, mask: gateway.bytes.count == mask.count ? mask : []) }
        self.endpoint = endpoint
    }
}

extension VICAddressRange {
    fileprivate init(_ address: IPAddress, mask: [UInt8]) {
        self.init()
        ip = VICAddress(address.bytes)
        self.mask = VICAddress(mask)
    }
}
