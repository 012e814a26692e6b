/// `tether.healthcheck`: how it is found out whether the container works, in the form of the OCI image-spec's and Docker's
/// `Healthcheck`. Docker's defaults stand where the configuration says nothing, or 0.
public struct HealthCheck: Equatable, Sendable {
    /// `Test`.
    public enum Test: Equatable, Sendable {
        /// `["CMD", …]`: a command and its arguments; never empty, and the command is no empty string.
        case command([String])
        /// `["CMD-SHELL", …]`: a command line for the container's /bin/sh; never empty.
        case shell(String)

        /// The arguments of the process that is to be started, the command first.
        public var arguments: [String] {
            switch self {
            case .command(let arguments): arguments
            case .shell(let line): ["/bin/sh", "-c", line]
            }
        }
    }

    public var test: Test
    /// `Interval`, in nanoseconds, 1 ms or more: from the end of a check to the start of the next.
    public var interval: Int64 = 30_000_000_000
    /// `Timeout`, in nanoseconds, 1 ms or more: how long one check may take.
    public var timeout: Int64 = 30_000_000_000
    /// `StartPeriod`, in nanoseconds, 0 or 1 ms or more: how long after the start of the process failures do not count.
    public var startPeriod: Int64 = 0
    /// `StartInterval`, in nanoseconds, 1 ms or more: ``interval`` during the start period.
    public var startInterval: Int64 = 5_000_000_000
    /// `Retries`, 1 or more: how many failures in a row make the container unhealthy.
    public var retries: Int64 = 3

    public init(test: Test) { self.test = test }
}
