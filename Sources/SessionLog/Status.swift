/// The value of `guestinfo.tether.status` (docs/formats.md, "Status").
public struct Status: Sendable, Equatable {
    /// How long a phase took, in microseconds of the monotonic clock.
    public struct Timing: Sendable, Equatable {
        public var phase: Phase
        public var microseconds: Int64

        public init(phase: Phase, microseconds: Int64) {
            self.phase = phase
            self.microseconds = microseconds
        }
    }

    /// What the health check found.
    public struct Health: Sendable, Equatable {
        /// `starting`, `healthy`, `unhealthy`.
        public var status: String
        /// Failures in a row.
        public var failingStreak: Int64
        /// The last check's exit code, −1 where it was not to be had, and what it wrote; nil before the first.
        public var exitCode: Int32?
        public var output: String

        public init(status: String, failingStreak: Int64, exitCode: Int32? = nil, output: String = "") {
            self.status = status
            self.failingStreak = failingStreak
            self.exitCode = exitCode
            self.output = output
        }
    }

    /// How one of the VM's network adapters is set up.
    public struct Network: Sendable, Equatable {
        /// As it is called in the VM: `eth0`.
        public var interface: String
        /// With their prefix lengths: `192.0.2.7/24`.
        public var addresses: [String]
        /// The default route's.
        public var gateway: String?
        public var nameservers: [String]
        /// `static`, or `dhcp` where at least one address comes that way.
        public var source: String

        public init(interface: String, addresses: [String], gateway: String?, nameservers: [String], source: String) {
            self.interface = interface
            self.addresses = addresses
            self.gateway = gateway
            self.nameservers = nameservers
            self.source = source
        }

        fileprivate func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.member("interface", interface)
            Network.write("addresses", addresses, to: &writer)
            if let gateway { writer.member("gateway", gateway) }
            if !nameservers.isEmpty { Network.write("nameservers", nameservers, to: &writer) }
            writer.member("source", source)
            writer.endObject()
        }

        private static func write(_ name: String, _ texts: [String], to writer: inout JSONWriter) {
            writer.key(name)
            writer.beginArray()
            for text in texts { writer.string(text) }
            writer.endArray()
        }
    }

    public var phase: Phase
    /// The container's id, once the configuration is read.
    public var id: String?
    /// The container process, as PID 1 sees it, while it runs.
    public var pid: Int32?
    public var startedAt: Timestamp?
    /// How often the process was started again.
    public var restarts: Int64
    public var isPaused: Bool
    /// The container process is not started before a client attaches.
    public var isWaiting: Bool
    /// nil without a health check.
    public var health: Health?
    /// How the container ended; its own `id`, `startedAt` and `error` give way to the ones beside it.
    public var exit: ExitRecord?
    public var error: FailureReport?
    /// What the configuration asks for and this version does not do: a few fixed words.
    public var notHonoured: [String] = []
    /// The adapters that are there, of those that the configuration names.
    public var network: [Network] = []
    /// The phases that are over, in order.
    public var timings: [Timing]
    /// Microseconds since PID 1's first instruction.
    public var totalMicroseconds: Int64

    public init(
        phase: Phase, id: String? = nil, pid: Int32? = nil, startedAt: Timestamp? = nil, restarts: Int64 = 0,
        isPaused: Bool = false, isWaiting: Bool = false, health: Health? = nil, exit: ExitRecord? = nil, error: FailureReport? = nil,
        timings: [Timing] = [], totalMicroseconds: Int64 = 0
    ) {
        self.phase = phase
        self.id = id
        self.pid = pid
        self.startedAt = startedAt
        self.restarts = restarts
        self.isPaused = isPaused
        self.isWaiting = isWaiting
        self.health = health
        self.exit = exit
        self.error = error
        self.timings = timings
        self.totalMicroseconds = totalMicroseconds
    }

    /// One JSON object on one line.
    public var json: [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("phase", phase.rawValue)
        if let id = id ?? exit?.id { writer.member("id", id) }
        if let pid { writer.member("pid", Int64(pid)) }
        if var exit {
            exit.startedAt = startedAt ?? exit.startedAt
            exit.error = error ?? exit.error
            writer.exitMembers(exit)
        } else {
            if let startedAt { writer.member("startedAt", startedAt.text) }
            if restarts > 0 { writer.member("restarts", restarts) }
            if let error { writer.failure(error) }
        }
        if isPaused { writer.member("paused", true) }
        if isWaiting { writer.member("waiting", "attach") }
        if let health {
            writer.key("health")
            writer.beginObject()
            writer.member("status", health.status)
            writer.member("failingStreak", health.failingStreak)
            if let code = health.exitCode {
                writer.member("exitCode", Int64(code))
                writer.member("output", health.output)
            }
            writer.endObject()
        }
        if !notHonoured.isEmpty {
            writer.key("notHonoured")
            writer.beginArray()
            for word in notHonoured { writer.string(word) }
            writer.endArray()
        }
        if !network.isEmpty {
            writer.key("network")
            writer.beginArray()
            for adapter in network { adapter.write(to: &writer) }
            writer.endArray()
        }
        writer.key("timings")
        writer.beginObject()
        for timing in timings {
            writer.key(timing.phase.rawValue)
            writer.thousandths(timing.microseconds)
        }
        writer.key("total")
        writer.thousandths(totalMicroseconds)
        writer.endObject()
        writer.endObject()
        return writer.bytes
    }
}
