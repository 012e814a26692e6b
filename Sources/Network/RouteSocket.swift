import CLinux
import Linux

/// A socket of rtnetlink(7).
public struct RouteSocket: ~Copyable {
    /// Groups of messages that the kernel sends unasked.
    public enum Group: UInt32, Sendable {
        case none = 0
        /// Interfaces come, change and go (RTMGRP_LINK).
        case links = 1
    }

    private let socket: FileDescriptor
    private var sequence: UInt32 = 0
    /// The kernel fills datagrams of a dump up to this.
    private static let datagramSize = 32_768
    /// The kernel answers while the request is sent; it is only for one that does otherwise.
    private static let patience: Int64 = 5000

    public init(_ group: Group = .none) throws(SyscallError) {
        socket = FileDescriptor(owning: try attempt("socket", "NETLINK_ROUTE") { clinux_route_socket(group.rawValue) })
    }

    /// Watch it for reading where a group was joined.
    public var descriptor: Int32 { socket.rawValue }

    /// Sends a request and takes the whole answer. Waits, for the kernel may have others to serve first: not for PID 1 itself.
    /// - Parameters: `operation` and `object` of the error.
    public mutating func exchange(
        _ request: RouteRequest, _ operation: String, _ object: String
    ) throws(NetworkError) -> [RouteAnswer] {
        // What changes while the kernel lists it may be there twice, or not at all: then it is listed again.
        for _ in 0..<RouteSocket.mostDumps {
            let answer = try ask(request, operation, object)
            if !answer.isInterrupted { return answer.answers }
        }
        throw NetworkError(operation, object, "it changes all the time")
    }

    private static let mostDumps = 8

    private mutating func ask(
        _ request: RouteRequest, _ operation: String, _ object: String
    ) throws(NetworkError) -> (answers: [RouteAnswer], isInterrupted: Bool) {
        sequence &+= 1
        let bytes = request.message(sequence: sequence).bytes
        do throws(SyscallError) {
            try attempt("send", "NETLINK_ROUTE") { bytes.withUnsafeBytes { send(socket.rawValue, $0.baseAddress, $0.count, 0) } }
        } catch {
            throw NetworkError(operation, object, error.errno)
        }
        let deadline = Deadline.after(milliseconds: RouteSocket.patience)
        var answers: [RouteAnswer] = []
        var isInterrupted = false
        while true {
            guard let messages = try receive(operation, object) else {
                if deadline.hasPassed { throw NetworkError(operation, object, "the kernel has not answered") }
                var watched = pollfd(fd: socket.rawValue, events: Int16(POLLIN), revents: 0)
                _ = poll(&watched, 1, deadline.pollTimeout)
                continue
            }
            for message in messages where message.sequence == sequence {
                if request.isDump && message.flags & 0x10 != 0 { isInterrupted = true }  // NLM_F_DUMP_INTR
                guard let answer = RouteAnswer(message) else { continue }
                switch answer {
                case .done, .acknowledged: return (answers, isInterrupted)
                case .failed(let errno, let text): throw NetworkError(operation, object, errno, text)
                case .link, .linkGone, .address: answers.append(answer)
                }
            }
        }
    }

    /// Takes what the kernel told unasked, at most a few datagrams; `mayHaveMissed` where it has dropped some.
    public func takeNews() throws(SyscallError) -> (answers: [RouteAnswer], mayHaveMissed: Bool) {
        var answers: [RouteAnswer] = []
        for _ in 0..<16 {
            switch receive() {
            case .messages(let messages): answers += messages.compactMap { RouteAnswer($0) }
            case .nothing: return (answers, false)
            case .failed(let errno) where errno == .noBufferSpace: return (answers, true)
            case .failed(let errno): throw SyscallError("recvmsg", "NETLINK_ROUTE", errno)
            }
        }
        return (answers, false)
    }

    private enum Reading {
        case messages([NetlinkMessage])
        case nothing
        case failed(Errno)
    }

    private func receive(_ operation: String, _ object: String) throws(NetworkError) -> [NetlinkMessage]? {
        switch receive() {
        case .messages(let messages): return messages
        case .nothing: return nil
        case .failed(let errno): throw NetworkError(operation, object, errno)
        }
    }

    private func receive() -> Reading {
        withUnsafeTemporaryAllocation(byteCount: RouteSocket.datagramSize, alignment: 8) { buffer in
            let length = clinux_netlink_receive(socket.rawValue, buffer.baseAddress, buffer.count)
            if length >= 0 { return .messages(NetlinkMessage.decode(Array(buffer[..<length]))) }
            let errno = Errno(rawValue: clinux_errno())
            return errno == .wouldBlock ? .nothing : .failed(errno)
        }
    }
}
