/// The files of /etc that the runtime writes in the place of the image's. The same configuration gives the same bytes.
public struct VICFiles: Equatable, Sendable {
    /// `/etc/hostname`.
    public var hostname: String
    /// `/etc/hosts` (hosts(5)).
    public var hosts: String
    /// `/etc/resolv.conf` (resolv.conf(5)).
    public var resolver: String

    /// Each file's name in /etc, and what is in it.
    public var all: [(name: String, content: String)] { [("hostname", hostname), ("hosts", hosts), ("resolv.conf", resolver)] }

    /// - Parameter hostname: as the kernel knows it.
    public init(_ config: VICExecutorConfig, hostname: String) {
        self.hostname = hostname + "\n"
        hosts = VICFiles.hosts(config, hostname)
        resolver = VICFiles.resolver(config)
    }

    private static func hosts(_ config: VICExecutorConfig, _ hostname: String) -> String {
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
        // In the order of the networks' names.
        for endpoint in config.networks {
            guard let ip = endpoint.ip?.ip, !ip.isUnspecified, let address = ip.text,
                let name = word(endpoint.network.name, or: endpoint.key)
            else { continue }
            text += "\(address)\t\(name).localhost\n"
        }
        return text
    }

    private static func resolver(_ config: VICExecutorConfig) -> String {
        var text = ""
        if let domain = word(config.domainname, or: "") { text += "search \(domain)\n" }
        var written: [VICAddress] = []
        for endpoint in config.networks {
            for server in endpoint.network.nameservers where !written.contains(server) {
                guard let address = server.text else { continue }
                written.append(server)
                text += "nameserver \(address)\n"
            }
        }
        return text + "options timeout:15 attempts:5\n"
    }

    /// A name that can stand in such a file: with white space it would be another entry.
    private static func word(_ text: String, or other: String) -> String? {
        for candidate in [text, other]
        where !candidate.isEmpty && candidate.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "#") }) {
            return candidate
        }
        return nil
    }
}
