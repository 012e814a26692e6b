import CLinux
import CSpawn
import ContainerSpec
import Linux

/// Why a container process was not started.
public struct LaunchError: Error, Equatable, Sendable, CustomStringConvertible {
    public let operation: String
    public let object: String
    public let cause: String
    /// As shells and Docker count: 127 the command was not found, 126 it cannot be executed, 125 anything before that.
    public let exitCode: UInt8

    public init(_ operation: String, _ object: String, _ cause: String, exitCode: UInt8 = 125) {
        self.operation = operation
        self.object = object
        self.cause = cause
        self.exitCode = exitCode
    }

    init(_ error: SyscallError) { self.init(error.operation, error.object, error.errno.description) }

    /// "exec /bin/missing: No such file or directory"
    public var description: String { object.isEmpty ? "\(operation): \(cause)" : "\(operation) \(object): \(cause)" }
}

extension LaunchError {
    /// Puts a child's report into words.
    init(_ report: cspawn_report, plan: LaunchPlan) {
        let step = CInt(report.step)
        let errno = Errno(rawValue: report.error)
        let operation = String(cString: cspawn_step_name(step))
        let index = Int(report.index)
        switch cspawn_step(rawValue: UInt32(truncatingIfNeeded: step)) {
        case CSPAWN_MOUNT_TARGET:
            self.init(operation, plan.mountTarget(index), errno.description)
        case CSPAWN_MOUNT:
            self.init(operation, plan.mountDescription(index), errno.description)
        case CSPAWN_DEVICE:
            self.init(operation, element(Defaults.devices.map { $0.path }, index), errno.description)
        case CSPAWN_LINK:
            self.init(operation, element(Defaults.links.map { $0.path }, index), errno.description)
        case CSPAWN_MASK:
            self.init(operation, element(plan.spec.maskedPaths, index), errno.description)
        case CSPAWN_READONLY_PATH:
            self.init(operation, element(plan.spec.readonlyPaths, index), errno.description)
        case CSPAWN_RLIMIT:
            self.init(operation, element(plan.spec.process.resourceLimits.map { $0.type }, index), errno.description)
        case CSPAWN_HOSTNAME:
            self.init(operation, plan.spec.hostname ?? "", errno.description)
        case CSPAWN_DOMAINNAME:
            self.init(operation, plan.spec.domainname ?? "", errno.description)
        case CSPAWN_CWD:
            self.init(operation, plan.spec.process.cwd, errno.description)
        case CSPAWN_UID:
            self.init(operation, "\(plan.spec.process.user.uid)", errno.description)
        case CSPAWN_GID:
            self.init(operation, "\(plan.spec.process.user.gid)", errno.description)
        case CSPAWN_BOUNDING, CSPAWN_AMBIENT:
            self.init(operation, Capabilities.name(report.index), errno.description)
        case CSPAWN_EXEC:
            self.init(exec: plan.spec.process.args.first ?? "", errno, interpreterMissing: report.index == 1)
        default:
            self.init(operation, plan.root, errno.description)
        }
    }

    private init(exec command: String, _ errno: Errno, interpreterMissing: Bool) {
        if interpreterMissing {
            self.init("exec", command, "its interpreter or dynamic loader does not exist", exitCode: 127)
        } else if errno == .noSuchFile {
            let cause = command.utf8.contains(UInt8(ascii: "/")) ? errno.description : "not found in PATH"
            self.init("exec", command, cause, exitCode: 127)
        } else {
            self.init("exec", command, errno.description, exitCode: 126)
        }
    }
}

/// The element at `index`, or a question mark: the index comes from another process.
private func element(_ names: [String], _ index: Int) -> String { names.indices.contains(index) ? names[index] : "?" }
