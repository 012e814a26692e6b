import ContainerSpec

/// The files of /etc that the runtime writes in the place of the image's. The same configuration gives the same bytes.
public struct VICFiles: Equatable, Sendable {
    /// `/etc/hostname`.
    public let hostname: String
    /// `/etc/hosts` (hosts(5)).
    public let hosts: String
    /// `/etc/resolv.conf` (resolv.conf(5)).
    public let resolver: String

    private let kernelName: String
    private let domain: String?
    private let endpoints: [VICEndpoint]

    /// Each file's name in /etc, and what is in it.
    public var all: [(name: String, content: String)] { [("hostname", hostname), ("hosts", hosts), ("resolv.conf", resolver)] }

    /// - Parameters:
    ///   - hostname: as the kernel knows it.
    ///   - domainname: as VIC has it.
    ///   - endpoints: in the order of their networks' names, in which they stand in the files.
    ///   - leases: what DHCP gave so far.
    public init(hostname: String, domainname: String, endpoints: [VICEndpoint], leases: [VICLease] = []) {
        self.init(hostname, VICFiles.word(domainname, or: ""), endpoints, leases)
    }

    private init(_ hostname: String, _ domain: String?, _ endpoints: [VICEndpoint], _ leases: [VICLease]) {
        kernelName = hostname
        self.domain = domain
        self.endpoints = endpoints
        self.hostname = hostname + "\n"
        hosts = VICFiles.hosts(hostname, endpoints, leases)
        resolver = VICFiles.resolver(domain, endpoints, leases)
    }

    /// The files as they are with what DHCP gave.
    ///
    /// - Parameter leases: of all adapters; what an adapter had before and has no more is in none of the files.
    public func with(_ leases: [VICLease]) -> VICFiles { VICFiles(kernelName, domain, endpoints, leases) }

    private static func hosts(_ hostname: String, _ endpoints: [VICEndpoint], _ leases: [VICLease]) -> String {
        let short = String(Substring(hostname.utf8.prefix { $0 != UInt8(ascii: ".") }))
        let names = short == hostname || short.isEmpty ? hostname : "\(hostname) \(short)"
        var text = """
            127.0.0.1\tlocalhost
            ::1\tlocalhost ip6-localhost ip6-loopback
            fe00::0\tip6-localnet
            ff00::0\tip6-mcastprefix
            ff02::1\tip6-allnodes
            ff02::2\tip6-allrouters
            ff02::3\tip6-allhosts
            127.0.1.1\t\(names)

            """
        for endpoint in endpoints {
            guard let address = endpoint.assignment(leases)?.address.address, let name = endpoint.hostName else { continue }
            text += "\(address.text)\t\(name).localhost\n"
        }
        return text
    }

    private static func resolver(_ domain: String?, _ endpoints: [VICEndpoint], _ leases: [VICLease]) -> String {
        var domains = domain.map { [$0] } ?? []
        for lease in leases {
            for name in lease.searchDomains where !domains.contains(name) && word(name, or: "") != nil { domains.append(name) }
        }
        var text = domains.isEmpty ? "" : domains.reduce("search") { $0 + " " + $1 } + "\n"
        var written: [IPAddress] = []
        for endpoint in endpoints {
            // The configuration's, else DHCP's, else the gateway: VIC's own endpoint VM answers there.
            let assignment = endpoint.assignment(leases)
            var servers = assignment?.nameservers ?? endpoint.nameservers
            if servers.isEmpty, let gateway = assignment?.gateway { servers = [gateway] }
            for server in servers where !written.contains(server) {
                written.append(server)
                text += "nameserver \(server.text)\n"
            }
        }
        return text + "options timeout:15 attempts:5\n"
    }

    /// A name that can stand in such a file: with white space it would be another entry.
    static func word(_ text: String, or other: String) -> String? {
        for candidate in [text, other]
        where !candidate.isEmpty && candidate.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "#") }) {
            return candidate
        }
        return nil
    }
}
