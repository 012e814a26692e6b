/// `hooks`: programs that run at certain points of the container's life, in the order of their lists.
///
/// Each gets the container's state as JSON on its standard input. Where a program runs, and so what its path means, depends on
/// the list: in the VM, where only what the initramfs has is there and the image is at /run/rootfs, or in the container.
public struct ContainerHooks: Equatable, Sendable {
    /// `prestart`, in the VM: deprecated by the runtime-spec, and run just before ``createRuntime``.
    public var prestart: [ContainerHook] = []
    /// `createRuntime`, in the VM: after the namespaces are made, before the root is changed.
    public var createRuntime: [ContainerHook] = []
    /// `createContainer`, in the container's namespaces, with the VM's paths: before the root is changed.
    public var createContainer: [ContainerHook] = []
    /// `startContainer`, in the container: before the process is started.
    public var startContainer: [ContainerHook] = []
    /// `poststart`, in the VM: after the process is started.
    public var poststart: [ContainerHook] = []
    /// `poststop`, in the VM: after the container has ended.
    public var poststop: [ContainerHook] = []

    /// No hooks.
    public init() {}

    public var isEmpty: Bool {
        prestart.isEmpty && createRuntime.isEmpty && createContainer.isEmpty && startContainer.isEmpty && poststart.isEmpty
            && poststop.isEmpty
    }
}

/// A program that a list of ``ContainerHooks`` names.
public struct ContainerHook: Equatable, Sendable {
    /// How long a hook without `timeout` may run, in seconds. The runtime-spec has no bound; a VM that starts must have one.
    public static let defaultTimeoutSeconds: Int64 = 30

    /// `path`, absolute.
    public var path: String
    /// `args`, the name of the program first, as execv(3) takes them; without the property just `path`. Never empty.
    public var args: [String]
    /// `env`: all of its environment, entries of the form `NAME=value`.
    public var env: [String] = []
    /// `timeout`, 1…3600: after so many seconds it is killed, and has failed.
    public var timeoutSeconds = ContainerHook.defaultTimeoutSeconds

    public init(path: String) {
        self.path = path
        args = [path]
    }
}
