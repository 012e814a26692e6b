import ArgumentParser
import ContainerSpec
import Foundation
import GuestInfoHost
import Linux

/// `tetherctl config`: checks a configuration, and prints what puts it into a VM.
struct ConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Check a configuration and print the guestinfo variables that carry it.",
        subcommands: [Guestinfo.self, Validate.self], defaultSubcommand: Guestinfo.self)

    /// Reads and decodes `file` ("-" is standard input), and prints what is wrong with it to standard error, a line each.
    /// - Throws: ExitCode 1 where anything is wrong; what is only doubtful is printed, too.
    static func load(_ file: String) throws -> [UInt8] {
        let name = file == "-" ? "standard input" : file
        let bytes: [UInt8]
        do {
            bytes = try ConfigDelivery.read(file)
        } catch {
            report("\(error)")
            throw ExitCode.failure
        }
        var warnings: [SpecIssue] = []
        defer { for warning in warnings { report("\(name): warning: \(warning)") } }
        do {
            _ = try ContainerSpec.decode(bytes, warnings: &warnings)
        } catch {
            for issue in error.issues { report("\(name): \(issue)") }
            if error.omitted > 0 { report("\(name): and \(error.omitted) more") }
            throw ExitCode.failure
        }
        return bytes
    }

    static func report(_ line: String) { FileHandle.standardError.write(Data((line + "\n").utf8)) }
}

extension ConfigCommand {
    /// `tetherctl config validate FILE…`
    struct Validate: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Check configurations; says nothing about good ones.")

        @Argument(help: "OCI config.json files; \"-\" is standard input.")
        var files: [String]

        func run() throws {
            var failed = false
            for file in files {
                do { _ = try ConfigCommand.load(file) } catch { failed = true }
            }
            if failed { throw ExitCode.failure }
        }
    }

    /// `tetherctl config [guestinfo] FILE`
    struct Guestinfo: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the guestinfo variables of a configuration (default).",
            discussion: "Prints key=value lines, or with --govc or --vmx what sets them. The JSON is stripped of white space.")

        enum Encoding: String, ExpressibleByArgument, CaseIterable {
            case plain
            case base64
            case gzipBase64 = "gzip+base64"
            case auto

            var value: ValueEncoding? {
                switch self {
                case .plain: .plain
                case .base64: .base64
                case .gzipBase64: .gzipBase64
                case .auto: nil
                }
            }
        }

        @Argument(help: "An OCI config.json; \"-\" is standard input.")
        var file: String

        @Option(help: "How the value is encoded; auto takes base64, and gzip+base64 from 4 KiB on.")
        var encoding = Encoding.auto

        @Flag(help: "Print the govc command that sets the variables.")
        var govc = false

        @Flag(help: "Print lines for a .vmx file.")
        var vmx = false

        @Option(name: .customLong("vm"), help: "With --govc: the VM's name or inventory path; without it govc takes $GOVC_VM.")
        var vmName: String?

        @Option(help: "With --govc: write the value to a file in this directory, and have govc read it from there.")
        var outputDir: String?

        func validate() throws {
            if govc && vmx { throw ValidationError("--govc and --vmx exclude each other") }
            if !govc && (vmName != nil || outputDir != nil) { throw ValidationError("--vm and --output-dir need --govc") }
        }

        func run() throws {
            let delivery = try ConfigDelivery(ConfigCommand.load(file), encoding: encoding.value)
            if govc {
                try printGovc(delivery)
            } else {
                for line in vmx ? delivery.vmxLines : delivery.pairs { print(line) }
            }
        }

        private func printGovc(_ delivery: ConfigDelivery) throws {
            var files: [String: String] = [:]
            if let outputDir {
                let directory = URL(fileURLWithPath: outputDir, isDirectory: true)
                let path = directory.appendingPathComponent(ConfigDelivery.key)
                do {
                    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
                    // Environments hold secrets: no one else may read the file, not even while it is being written.
                    try? FileManager.default.removeItem(at: path)
                    let written = FileManager.default.createFile(
                        atPath: path.path, contents: Data(delivery.value), attributes: [.posixPermissions: 0o600])
                    if !written { throw CocoaError(.fileWriteUnknown) }
                } catch {
                    ConfigCommand.report("write \(path.path): \(error.localizedDescription)")
                    throw ExitCode.failure
                }
                files[ConfigDelivery.key] = path.path
            } else if delivery.value.count > ConfigDelivery.argumentLimit {
                ConfigCommand.report(
                    "\(file): the value has \(delivery.value.count) bytes, too many for a command line: give --output-dir")
                throw ExitCode.failure
            }
            print(ConfigDelivery.shellLine(delivery.govcCommand(vm: vmName, files: files)))
        }
    }
}
