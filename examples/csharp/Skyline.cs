using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.IO.Pipes;
using System.Linq;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace SkylineExample
{
    /// <summary>Nobody listens at the endpoint.</summary>
    public sealed class NoDaemonException : Exception { }

    /// <summary>The daemon refused a request. Match Code; Reply has everything it said.</summary>
    public sealed class SkylineException : Exception
    {
        public SkylineException(JsonElement reply) : base(reply.GetProperty("message").GetString())
        {
            Code = reply.GetProperty("code").GetString();
            Reply = reply;
        }

        public string Code { get; }
        public JsonElement Reply { get; }
    }

    /// <summary>One connection, for one thread, with one request at a time.</summary>
    public sealed class Skyline : IDisposable
    {
        private const int MaxFrame = 16 * 1024 * 1024;
        private const string Pipe = @"\\.\pipe\";
        private static readonly Encoding StrictUtf8 = new UTF8Encoding(false, true);
        private readonly Stream stream;
        private long lastId;

        public Skyline(string endpoint)
        {
            stream = endpoint.StartsWith(Pipe, StringComparison.Ordinal) ? OpenPipe(endpoint) : OpenSocket(endpoint);
        }

        public void Dispose() { stream.Dispose(); }

        /// <summary>The option, else SKYLINEDB_SOCKET, else the platform's place.</summary>
        public static string Endpoint(string option)
        {
            string chosen = option ?? Environment.GetEnvironmentVariable("SKYLINEDB_SOCKET");
            if (RuntimeInformation.IsOSPlatform(OSPlatform.Windows))
            {
                string name = string.IsNullOrEmpty(chosen) ? "SkylineDBd-v1" : chosen;
                if (name.StartsWith(Pipe, StringComparison.Ordinal)) return name;
                return Pipe + Regex.Replace(name.TrimStart('\\', '/'), @"[\\/:]", "-");
            }
            if (!string.IsNullOrEmpty(chosen)) return Path.GetFullPath(chosen);
            string runtime = Environment.GetEnvironmentVariable("XDG_RUNTIME_DIR");
            return string.IsNullOrEmpty(runtime)
                ? "/tmp/skylinedb-" + SocketFolder.getuid() + "/v1.sock"
                : Path.Combine(runtime, "skylinedb", "v1.sock");
        }

        /// <summary>One statement of a batch, with parameters by position.</summary>
        public static Dictionary<string, object> Statement(string sql, params object[] values)
        {
            return new Dictionary<string, object> { ["sql"] = sql, ["params"] = values.Select(Encode).ToArray() };
        }

        /// <summary>One statement of a batch, with parameters by name.</summary>
        public static Dictionary<string, object> Statement(string sql, Dictionary<string, object> named)
        {
            var encoded = named.ToDictionary(pair => pair.Key, pair => Encode(pair.Value));
            return new Dictionary<string, object> { ["sql"] = sql, ["params"] = encoded };
        }

        /// <summary>All in one transaction. Without db: data.db in the daemon's data directory.</summary>
        public JsonElement Batch(string db, params Dictionary<string, object>[] statements)
        {
            var request = new Dictionary<string, object> { ["type"] = "ExecBatch", ["stmts"] = statements };
            if (db != null) request["db"] = db; // optional fields are left out, never null
            return Call(request);
        }

        /// <summary>Sends a request and returns its reply. After an IOException connect anew.</summary>
        public JsonElement Call(Dictionary<string, object> request)
        {
            request["id"] = ++lastId;
            byte[] payload = JsonSerializer.SerializeToUtf8Bytes(request);
            if (payload.Length > MaxFrame) throw new ArgumentException("The request is larger than a frame.");
            var frame = new byte[4 + payload.Length];
            for (int i = 0; i < 4; i++) frame[i] = (byte)(payload.Length >> (8 * i));
            payload.CopyTo(frame, 4);
            stream.Write(frame, 0, frame.Length);
            stream.Flush();
            while (true)
            {
                JsonElement reply = ReadFrame();
                JsonElement id;
                if (reply.TryGetProperty("event", out _)) continue; // progress
                // An error without an id is about the connection itself.
                if (reply.TryGetProperty("id", out id) && id.GetInt64() != lastId) continue;
                if (reply.GetProperty("status").GetString() == "error") throw new SkylineException(reply);
                return reply;
            }
        }

        /// <summary>A value as the protocol writes it.</summary>
        public static object Encode(object value)
        {
            if (value == null || value is bool) return value;
            if (value is int small) return (long)small;
            if (value is long whole)
                return Math.Abs((decimal)whole) < 1L << 53 ? whole : Tagged("$int", whole.ToString(CultureInfo.InvariantCulture));
            if (value is double real)
            {
                if (double.IsInfinity(real)) return Tagged("$real", real > 0 ? "Infinity" : "-Infinity");
                if (real == 0 && double.IsNegativeInfinity(1 / real)) return Tagged("$real", "-0");
                // 2.0 is the same JSON number as 2: without the tag it would be stored as INTEGER.
                return real == Math.Truncate(real) ? Tagged("$real", real) : real; // JsonSerializer refuses NaN
            }
            if (value is byte[] bytes) return Tagged("$blob", Convert.ToBase64String(bytes));
            if (value is string text)
            {
                StrictUtf8.GetByteCount(text); // throws on a lone surrogate, which the serializer would replace
                return text;
            }
            throw new ArgumentException(value.GetType() + " cannot be stored.");
        }

        /// <summary>A cell of a row: null, long, double, string or byte[].</summary>
        public static object Decode(JsonElement cell)
        {
            if (cell.ValueKind == JsonValueKind.Null) return null;
            if (cell.ValueKind == JsonValueKind.String) return cell.GetString();
            if (cell.ValueKind == JsonValueKind.Number)
                return cell.GetRawText().IndexOfAny(new[] { '.', 'e', 'E' }) < 0 ? cell.GetInt64() : (object)cell.GetDouble();
            JsonElement content;
            if (cell.TryGetProperty("$int", out content)) return long.Parse(content.GetString(), CultureInfo.InvariantCulture);
            if (cell.TryGetProperty("$blob", out content)) return Convert.FromBase64String(content.GetString());
            return cell.GetProperty("$real").GetString() == "Infinity" ? double.PositiveInfinity : double.NegativeInfinity;
        }

        private static object Tagged(string tag, object content)
        {
            return new Dictionary<string, object> { [tag] = content };
        }

        private static Stream OpenSocket(string path)
        {
            SocketFolder.Check(Path.GetDirectoryName(path));
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                socket.Connect(new UnixDomainSocketEndPoint(path));
                return new NetworkStream(socket, true);
            }
            catch (SocketException error)
            {
                socket.Dispose();
                if (error.SocketErrorCode == SocketError.ConnectionRefused || !File.Exists(path)) throw new NoDaemonException();
                throw new IOException(error.Message, error);
            }
        }

        private static Stream OpenPipe(string path)
        {
            // CurrentUserOnly: .NET checks that the pipe belongs to this user.
            var pipe = new NamedPipeClientStream(".", path.Substring(Pipe.Length), PipeDirection.InOut, PipeOptions.CurrentUserOnly);
            try
            {
                pipe.Connect(1000);
                return pipe;
            }
            catch (TimeoutException)
            {
                pipe.Dispose();
                throw new NoDaemonException();
            }
        }

        private JsonElement ReadFrame()
        {
            byte[] header = Read(4);
            uint length = (uint)(header[0] | header[1] << 8 | header[2] << 16 | header[3] << 24);
            if (length == 0 || length > MaxFrame) throw new IOException("The daemon announced a frame of " + length + " bytes.");
            using (JsonDocument document = JsonDocument.Parse(Read((int)length))) return document.RootElement.Clone();
        }

        private byte[] Read(int size)
        {
            var bytes = new byte[size];
            for (int done = 0, count; done < size; done += count)
            {
                count = stream.Read(bytes, done, size - done);
                if (count == 0) throw new IOException("The connection ended before the reply: the outcome is unknown.");
            }
            return bytes;
        }
    }
}
