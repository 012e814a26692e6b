import CLinux

/// A serial line as a raw byte channel (termios(3), tty_ioctl(4)).
public struct SerialPort: ~Copyable {
    private let descriptor: FileDescriptor
    public let path: String
    public var rawValue: Int32 { descriptor.rawValue }

    /// Opens `path` raw: 8N1, no flow control characters, no modem lines, no hang-up on close; never blocks.
    ///
    /// A path that is no terminal (a pipe or a file, in tests) is taken as it is.
    public init(_ path: String) throws(SyscallError) {
        let opened = try FileDescriptor.open(path, O_RDWR | O_NOCTTY | O_NONBLOCK)
        if isatty(opened.rawValue) == 1 { try SerialPort.makeRaw(opened.rawValue, path) }
        descriptor = opened
        self.path = path
    }

    private static func makeRaw(_ number: Int32, _ path: String) throws(SyscallError) {
        var settings = termios()
        try attempt("tcgetattr", path) { tcgetattr(number, &settings) }
        cfmakeraw(&settings)
        // Those of input flow control and parity it leaves as whoever had the line before set them.
        settings.c_iflag &= ~tcflag_t(IXOFF | IXANY | INPCK)
        // Without CLOCAL a line whose far end is not connected would hang up; with HUPCL, closing it would drop DTR.
        settings.c_cflag |= tcflag_t(CLOCAL | CREAD)
        settings.c_cflag &= ~tcflag_t(HUPCL | CSTOPB | PARENB) & ~tcflag_t(CRTSCTS)
        cfsetspeed(&settings, speed_t(B115200))
        try attempt("tcsetattr", path) { tcsetattr(number, TCSANOW, &settings) }
    }

    /// Writes what the line takes now; nil when it takes nothing.
    public func write(_ bytes: UnsafeRawBufferPointer) throws(SyscallError) -> Int? {
        try descriptor.write(bytes, object: path)
    }

    /// Reads at most `buffer.count` bytes.
    /// - Returns: their number, nil when nothing is there now, 0 when the line has hung up.
    public func read(into buffer: UnsafeMutableRawBufferPointer) throws(SyscallError) -> Int? {
        try descriptor.read(into: buffer, object: path)
    }

    /// What the line has lost since the VM's boot, as its driver counts it (TIOCGICOUNT).
    public struct Losses: Equatable, Sendable {
        /// Bytes that came faster than the driver took them from the UART, and than the reader took them from the driver.
        public var overruns: UInt32
        public var bufferOverruns: UInt32
        /// Bytes that came damaged.
        public var framing: UInt32
        public var parity: UInt32
    }

    /// nil where the line does not count.
    public var losses: Losses? {
        var errors = clinux_serial_errors()
        guard clinux_serial_count_errors(descriptor.rawValue, &errors) == 0 else { return nil }
        return Losses(
            overruns: errors.overrun, bufferOverruns: errors.buffer_overrun, framing: errors.framing, parity: errors.parity)
    }

    /// Whether everything written has left the machine: the driver's buffer and the UART's own.
    ///
    /// What asks has to ask again until a deadline: tcdrain(3) would wait without one.
    public var isDrained: Bool {
        var unsent: Int32 = 0
        guard clinux_serial_unsent(descriptor.rawValue, &unsent) == 0 else { return true }
        if unsent > 0 { return false }
        var empty: Int32 = 1
        guard clinux_serial_transmitter_empty(descriptor.rawValue, &empty) == 0 else { return true }
        return empty != 0
    }
}
