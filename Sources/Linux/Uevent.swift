import CLinux

/// One message of the kernel about a device that came, changed or went (lib/kobject_uevent.c).
public struct Uevent: Equatable, Sendable {
    /// "add", "change", "remove", "bind", …
    public let action: String
    /// The device below /sys: "/devices/pci0000:00/…/block/sda".
    public let devicePath: String
    /// "block", "scsi", "pci", …; empty where the device has none.
    public let subsystem: String
    /// The node below /dev: "sda"; nil for devices without one.
    public let deviceName: String?
    /// What modules.alias is searched for.
    public let modalias: String?
    /// The kernel's counter of uevents.
    public let sequenceNumber: UInt64?

    /// Parses "ACTION@DEVPATH", NUL, and "KEY=value" strings, each ended by NUL.
    ///
    /// - Returns: nil for anything else, as for messages of a udev daemon.
    public init?(parsing message: UnsafeRawBufferPointer) {
        var action: String?
        var devicePath: String?
        var subsystem = ""
        var deviceName: String?
        var modalias: String?
        var sequenceNumber: UInt64?
        var isFirst = true
        for part in message.split(separator: 0, omittingEmptySubsequences: false) {
            if isFirst {
                isFirst = false
                guard part.contains(UInt8(ascii: "@")) else { return nil }
                continue
            }
            guard let equals = part.firstIndex(of: UInt8(ascii: "=")) else { continue }
            let key = String(decoding: part[..<equals], as: UTF8.self)
            let value = String(decoding: part[part.index(after: equals)...], as: UTF8.self)
            switch key {
            case "ACTION": action = value
            case "DEVPATH": devicePath = value
            case "SUBSYSTEM": subsystem = value
            case "DEVNAME": deviceName = value
            case "MODALIAS": modalias = value
            case "SEQNUM": sequenceNumber = UInt64(value)
            default: break
            }
        }
        guard let action, let devicePath else { return nil }
        self.action = action
        self.devicePath = devicePath
        self.subsystem = subsystem
        self.deviceName = deviceName
        self.modalias = modalias
        self.sequenceNumber = sequenceNumber
    }
}

/// The socket on which the kernel announces devices (netlink(7), NETLINK_KOBJECT_UEVENT). It never blocks.
public struct UeventSocket: ~Copyable {
    public enum Reading: Equatable, Sendable {
        case event(Uevent)
        /// None is waiting.
        case none
        /// The kernel dropped messages (ENOBUFS): look at /sys itself.
        case overrun
    }

    /// Watch it for reading.
    public var descriptor: Int32 { socket.rawValue }

    private let socket: FileDescriptor
    /// The kernel's messages are at most 2 KiB of variables and a path (UEVENT_BUFFER_SIZE).
    private static let messageSize = 8192

    /// Opens it. Do so before the first look at /sys, so that nothing falls between the two.
    public init() throws(SyscallError) {
        socket = FileDescriptor(owning: try attempt("socket", "NETLINK_KOBJECT_UEVENT") { clinux_uevent_socket(1 << 20) })
    }

    /// Takes the next message.
    public func next() throws(SyscallError) -> Reading {
        while true {
            var reading: Reading?
            let length = withUnsafeTemporaryAllocation(byteCount: UeventSocket.messageSize, alignment: 8) { buffer in
                let length = clinux_netlink_receive(socket.rawValue, buffer.baseAddress, buffer.count)
                if length > 0, let event = Uevent(parsing: UnsafeRawBufferPointer(rebasing: buffer[..<length])) { reading = .event(event) }
                return length
            }
            if let reading { return reading }
            if length >= 0 { continue }
            switch clinux_errno() {
            case EAGAIN: return .none
            case ENOBUFS: return .overrun
            case let number: throw SyscallError("recvmsg", "NETLINK_KOBJECT_UEVENT", Errno(rawValue: number))
            }
        }
    }
}
