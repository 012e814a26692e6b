import CLinux
import ContainerSpec
import Foundation
import Linux

@testable import Network

/// A DHCP server (RFC 2131) as it is wanted: in a namespace of its own, at the other end of the client's cable, 10.9.0.1/24.
final class DHCPServer: @unchecked Sendable {
    enum Answer { case lease(UInt8), refusal, nothing }

    private let lock = NSLock()
    private var _answer = Answer.lease(20)
    private var _hostnames: [String] = []
    private var _renewals = 0
    private var isOver = false
    private let end = DispatchSemaphore(value: 0)
    /// Of the thread, and so of the namespace.
    private let thread: Int32

    /// What it says to whoever asks; a lease is of 10.9.0.x, for 16 s, without a router.
    var answer: Answer {
        get { lock.withLock { _answer } }
        set { lock.withLock { _answer = newValue } }
    }
    /// Option 12, as it arrived.
    var hostnames: [String] { lock.withLock { _hostnames } }
    /// How often a client asked to keep the address that it has.
    var renewals: Int { lock.withLock { _renewals } }

    /// - Parameter cable: an interface in the namespace of who calls, which becomes the server's.
    init(_ cable: String) throws {
        final class Start: @unchecked Sendable { var thread: Int32 = 0; var serve: (() -> Void)? }
        let (start, isThere, go) = (Start(), DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        Thread {
            // It leads to "<process>/task/<thread>".
            let own = Files.linkTarget("/proc/thread-self")?.split(separator: "/").last.flatMap { Int32($0) }
            if unshare(CLONE_NEWNET) == 0 { start.thread = own ?? 0 }
            isThere.signal()
            go.wait()
            start.serve?()
        }.start()
        isThere.wait()
        thread = start.thread
        defer { go.signal() }
        if thread == 0 { throw NetworkError("unshare", "network namespace", "not permitted") }
        try busybox(["ip", "link", "set", cable, "netns", "\(thread)"])
        start.serve = { self.serve(cable) }
    }

    func stop() {
        lock.withLock { isOver = true }
        end.wait()
    }

    private func serve(_ cable: String) {
        defer { end.signal() }
        do {
            try busybox(["ip", "link", "set", cable, "up"])
            try busybox(["ip", "addr", "add", "10.9.0.1/24", "broadcast", "10.9.0.255", "dev", cable])
            let socket = FileDescriptor(owning: try attempt("socket") { CLinux.socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0) })
            var on: Int32 = 1
            try attempt("setsockopt") { setsockopt(socket.rawValue, SOL_SOCKET, SO_BROADCAST, &on, 4) }
            try with("0.0.0.0", 67) { address in try attempt("bind") { bind(socket.rawValue, address, 16) } }
            while !lock.withLock({ isOver }) {
                var watched = pollfd(fd: socket.rawValue, events: Int16(POLLIN), revents: 0)
                if poll(&watched, 1, 50) != 1 { continue }
                guard let request = try socket.read(atMost: 2048), let reply = reply(to: request) else { continue }
                try with("10.9.0.255", 68) { address in
                    _ = try attempt("sendto") {
                        reply.withUnsafeBytes { sendto(socket.rawValue, $0.baseAddress, $0.count, 0, address, 16) }
                    }
                }
            }
        } catch { print("DHCP server: \(error)") }
    }

    private func with(_ address: String, _ port: UInt16, _ body: (__CONST_SOCKADDR_ARG) throws -> Void) throws {
        // struct sockaddr_in
        var bytes: [UInt8] = [UInt8(AF_INET), 0, UInt8(port >> 8), UInt8(port & 0xFF)] + (IPAddress(address)?.bytes ?? [])
        bytes += [UInt8](repeating: 0, count: 16 - bytes.count)
        try bytes.withUnsafeBytes { bytes in
            if let start = bytes.baseAddress { try body(__CONST_SOCKADDR_ARG(__sockaddr__: start.assumingMemoryBound(to: sockaddr.self))) }
        }
    }

    private func reply(to request: [UInt8]) -> [UInt8]? {
        guard request.count > 240, request[0] == 1 else { return nil }
        var options: [UInt8: [UInt8]] = [:]
        var position = 240
        while position + 1 < request.count, request[position] != 255 {
            if request[position] == 0 { position += 1; continue }
            let (start, length) = (position + 2, Int(request[position + 1]))
            if start + length > request.count { return nil }
            options[request[position]] = Array(request[start..<start + length])
            position = start + length
        }
        // Discover and request (section 9.6).
        guard let kind = options[53]?.first, kind == 1 || kind == 3 else { return nil }
        lock.withLock {
            if let name = options[12] { _hostnames.append(String(decoding: name, as: UTF8.self)) }
            if kind == 3 && request[12..<16] != [0, 0, 0, 0] { _renewals += 1 }
        }
        var (type, address): (UInt8, [UInt8]) = (kind == 1 ? 2 : 5, [0, 0, 0, 0])
        switch answer {
        case .nothing: return nil
        case .refusal:
            if kind == 1 { return nil }
            type = 6
        case .lease(let host): address = [10, 9, 0, host]
        }
        var reply: [UInt8] = [2, 1, 6, 0] + request[4..<8] + [0, 0, 0x80, 0] + [0, 0, 0, 0] + address + [10, 9, 0, 1] + [0, 0, 0, 0]
        reply += request[28..<44] + [UInt8](repeating: 0, count: 192) + [0x63, 0x82, 0x53, 0x63]
        reply += [53, 1, type, 54, 4, 10, 9, 0, 1]
        if type != 6 { reply += [51, 4, 0, 0, 0, 16, 1, 4, 255, 255, 255, 0] }
        reply.append(255)
        return reply + [UInt8](repeating: 0, count: max(0, 300 - reply.count))
    }
}
