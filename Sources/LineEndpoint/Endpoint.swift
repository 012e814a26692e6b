import CLinux
import Glibc
import Linux

/// Where a VM's serial line can be reached from here.
public enum Endpoint: Equatable, Sendable, CustomStringConvertible {
    /// A unix socket whose bytes are the line's (QEMU's `-serial unix:…`, tetherctl run's `attach.sock`).
    case socket(path: String)
    /// The same over TCP, for instance ESXi's network-backed port with a `tcp://` URI.
    case tcp(host: String, port: UInt16)
    /// A telnet server: ESXi's network-backed port with a `telnet://` URI, in the direction "server".
    case telnet(host: String, port: UInt16)
    /// A terminal of this machine: a real serial port, or the pty of `-serial pty`.
    case terminal(path: String)
    /// The line of a VM that a concentrator (`tetherctl serve`) holds, by the VM's name, its UUID or its port's URI.
    case concentrator(path: String, machine: String)

    /// Reads what a person writes: a path, `tcp://host:port` or `telnet://host:port`.
    /// - Parameter machine: of whose lines the socket of a concentrator has.
    public init(_ text: String, machine: String? = nil) throws(EndpointError) {
        for (scheme, make) in [("tcp://", Endpoint.tcp), ("telnet://", Endpoint.telnet)] as [(String, (String, UInt16) -> Endpoint)] {
            guard text.hasPrefix(scheme) else { continue }
            if machine != nil { throw EndpointError("read the endpoint", text, "a VM's name belongs to a concentrator's socket") }
            let address = try Endpoint.address(String(text.dropFirst(scheme.count)))
            guard let host = address.host else { throw EndpointError("read the endpoint", text, "it has no host") }
            self = make(host, address.port)
            return
        }
        let path = text.hasPrefix("unix:") ? String(text.dropFirst(5)) : text
        var info = stat()
        guard stat(path, &info) == 0 else {
            throw EndpointError("find the endpoint", path, Errno(rawValue: clinux_errno()).description)
        }
        switch (info.st_mode & S_IFMT, machine) {
        case (S_IFSOCK, let machine?): self = .concentrator(path: path, machine: machine)
        case (S_IFSOCK, nil): self = .socket(path: path)
        case (S_IFCHR, nil): self = .terminal(path: path)
        case (_, _?): throw EndpointError("read the endpoint", path, "a VM's name belongs to a concentrator's socket")
        default: throw EndpointError("read the endpoint", path, "it is neither a socket nor a terminal")
        }
    }

    /// Takes `host:port`, `[host]:port` or `:port` apart.
    public static func address(_ text: String) throws(EndpointError) -> (host: String?, port: UInt16) {
        let text = text.hasSuffix("/") ? String(text.dropLast()) : text
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            throw EndpointError("read the address", text, "it is no host:port")
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            throw EndpointError("read the address", text, "an IPv6 address stands in brackets")
        }
        return (host.isEmpty ? nil : String(host), port)
    }

    public var description: String {
        switch self {
        case .socket(let path), .terminal(let path): path
        case .tcp(let host, let port): "tcp://\(host.contains(":") ? "[\(host)]" : host):\(port)"
        case .telnet(let host, let port): "telnet://\(host.contains(":") ? "[\(host)]" : host):\(port)"
        case .concentrator(let path, let machine): "\(machine) at \(path)"
        }
    }
}
