import CLinux
public import ContainerSpec
public import Linux

/// Starts containers, and waits for it.
public enum Launcher {
    /// Makes the namespaces and the root, and starts the process in them.
    ///
    /// - Parameters:
    ///   - root: the mounted root file system, in the caller's view.
    ///   - interrupt: ends the wait for the children.
    /// - Throws: ``LaunchError``; then no process is left.
    public static func launch(_ spec: ContainerSpec, root: String, interrupt: Interrupt? = nil) throws(LaunchError) -> RunningContainer {
        let launch = try ContainerLaunch.start(spec, root: root, placement: Placement())
        while true {
            switch launch.step() {
            case .started(let container): return container
            case .failed(let error): throw error
            case .waiting: break
            }
            var watched = (
                pollfd(fd: launch.descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: interrupt?.descriptor ?? -1, events: Int16(POLLIN), revents: 0)
            )
            let ready = withUnsafeMutableBytes(of: &watched) {
                poll($0.baseAddress?.assumingMemoryBound(to: pollfd.self), 2, launch.deadline.pollTimeout)
            }
            if ready > 0, watched.1.revents != 0, let interrupt, interrupt.isRequested() { launch.cancel("stopped before it started") }
        }
    }
}

extension RunningContainer {
    public var processID: Int32 { process.processID }
    public var stdout: Int32 { process.stdout }
    public var stderr: Int32 { process.stderr }
    public func signal(_ signal: Signal) { process.signal(signal) }
}

public typealias LaunchedContainer = RunningContainer
