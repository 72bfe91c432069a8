import java.nio.ByteBuffer;
import java.security.KeyStore;
import java.util.Map;
import java.util.Set;

import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult;
import javax.net.ssl.SSLEngineResult.HandshakeStatus;
import javax.net.ssl.SSLEngineResult.Status;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLPeerUnverifiedException;
import javax.net.ssl.SSLSession;

import org.apache.kafka.common.security.auth.SslEngineFactory;

/**
 * An engine that takes the place of TLS and encrypts nothing: it copies what it is given into records of at most 16 KiB, as
 * TLS does. A listener with it sends as one with SSL does, but for the cryptography; what it costs more than a plaintext
 * listener is the price of the lost zero copy. It protects nothing, and is for measurements only.
 */
public final class CopyEngineFactory implements SslEngineFactory {
    @Override
    public SSLEngine createClientSslEngine(String host, int port, String endpointIdentification) {
        return new CopyEngine(host, port, true);
    }

    @Override
    public SSLEngine createServerSslEngine(String host, int port) {
        return new CopyEngine(host, port, false);
    }

    @Override
    public boolean shouldBeRebuilt(Map<String, Object> configs) {
        return false;
    }

    @Override
    public Set<String> reconfigurableConfigs() {
        return Set.of();
    }

    @Override
    public KeyStore keystore() {
        return null;
    }

    @Override
    public KeyStore truststore() {
        return null;
    }

    @Override
    public void configure(Map<String, ?> configs) {
    }

    @Override
    public void close() {
    }
}

/** One record is three letters, a length, and so many bytes. The first one each way says hello. */
final class CopyEngine extends SSLEngine {
    private static final byte[] MARK = {'C', 'P', 'Y'};
    private static final int HEADER = 5;
    /** As TLS: RFC 8446, 5.1. */
    private static final int MOST = 16384;

    private final SSLSession session = (SSLSession) java.lang.reflect.Proxy.newProxyInstance(
            SSLSession.class.getClassLoader(), new Class<?>[] {SSLSession.class}, CopyEngine::ofSession);
    private boolean client;
    private boolean greeted;
    private boolean wasGreeted;
    private boolean inboundDone;
    private boolean outboundDone;

    CopyEngine(String host, int port, boolean client) {
        super(host, port);
        this.client = client;
    }

    private static Object ofSession(Object proxy, java.lang.reflect.Method method, Object[] arguments) throws Throwable {
        return switch (method.getName()) {
            case "getPacketBufferSize" -> HEADER + MOST;
            case "getApplicationBufferSize" -> MOST;
            case "getProtocol", "getCipherSuite" -> "COPY";
            case "isValid" -> true;
            case "getId" -> new byte[0];
            case "getValueNames" -> new String[0];
            case "getPeerPrincipal", "getPeerCertificates", "getPeerCertificateChain" ->
                throw new SSLPeerUnverifiedException("nobody is verified");
            case "getPeerPort" -> -1;
            case "getCreationTime", "getLastAccessedTime" -> 0L;
            case "hashCode" -> System.identityHashCode(proxy);
            case "equals" -> proxy == arguments[0];
            default -> null;
        };
    }

    @Override
    public HandshakeStatus getHandshakeStatus() {
        boolean first = client ? greeted : wasGreeted;
        boolean second = client ? wasGreeted : greeted;
        if (first && second) {
            return HandshakeStatus.NOT_HANDSHAKING;
        }
        return client != first ? HandshakeStatus.NEED_WRAP : HandshakeStatus.NEED_UNWRAP;
    }

    /** What a result says: FINISHED once, by the call that ended the greeting. */
    private HandshakeStatus after(boolean greeting) {
        HandshakeStatus now = getHandshakeStatus();
        return greeting && now == HandshakeStatus.NOT_HANDSHAKING ? HandshakeStatus.FINISHED : now;
    }

    @Override
    public SSLEngineResult wrap(ByteBuffer[] sources, int offset, int length, ByteBuffer to) {
        if (outboundDone) {
            return new SSLEngineResult(Status.CLOSED, HandshakeStatus.NOT_HANDSHAKING, 0, 0);
        }
        boolean greeting = getHandshakeStatus() == HandshakeStatus.NEED_WRAP;
        int size = 0;
        for (int i = offset; i < offset + length && !greeting; i++) {
            size = (int) Math.min(MOST, (long) size + sources[i].remaining());
        }
        int body = greeting ? 1 : size;
        if (to.remaining() < HEADER + body) {
            return new SSLEngineResult(Status.BUFFER_OVERFLOW, getHandshakeStatus(), 0, 0);
        }
        to.put(MARK).putShort((short) body);
        if (greeting) {
            to.put((byte) '!');
            greeted = true;
        }
        int rest = size;
        for (int i = offset; i < offset + length && rest > 0; i++) {
            ByteBuffer source = sources[i];
            int end = source.limit();
            int part = Math.min(rest, source.remaining());
            source.limit(source.position() + part);
            to.put(source);
            source.limit(end);
            rest -= part;
        }
        return new SSLEngineResult(Status.OK, after(greeting), size, HEADER + body);
    }

    @Override
    public SSLEngineResult unwrap(ByteBuffer from, ByteBuffer[] to, int offset, int length) throws SSLException {
        if (inboundDone) {
            return new SSLEngineResult(Status.CLOSED, HandshakeStatus.NOT_HANDSHAKING, 0, 0);
        }
        int start = from.position();
        int body = from.remaining() < HEADER ? 0 : Short.toUnsignedInt(from.getShort(start + MARK.length));
        if (from.remaining() < HEADER + body) {
            return new SSLEngineResult(Status.BUFFER_UNDERFLOW, getHandshakeStatus(), 0, 0);
        }
        if (from.get(start) != MARK[0] || body > MOST) {
            throw new SSLException("not a record of this engine");
        }
        boolean greeting = getHandshakeStatus() == HandshakeStatus.NEED_UNWRAP;
        long room = 0;
        for (int i = offset; i < offset + length; i++) {
            room += to[i].remaining();
        }
        if (!greeting && room < body) {
            return new SSLEngineResult(Status.BUFFER_OVERFLOW, getHandshakeStatus(), 0, 0);
        }
        from.position(start + HEADER);
        if (greeting) {
            from.position(start + HEADER + body);
            wasGreeted = true;
            return new SSLEngineResult(Status.OK, after(true), HEADER + body, 0);
        }
        int rest = body;
        int end = from.limit();
        for (int i = offset; i < offset + length && rest > 0; i++) {
            int part = Math.min(rest, to[i].remaining());
            from.limit(from.position() + part);
            to[i].put(from);
            from.limit(end);
            rest -= part;
        }
        return new SSLEngineResult(Status.OK, HandshakeStatus.NOT_HANDSHAKING, HEADER + body, body);
    }

    @Override
    public Runnable getDelegatedTask() {
        return null;
    }

    @Override
    public void closeInbound() {
        inboundDone = true;
    }

    @Override
    public boolean isInboundDone() {
        return inboundDone;
    }

    @Override
    public void closeOutbound() {
        outboundDone = true;
    }

    @Override
    public boolean isOutboundDone() {
        return outboundDone;
    }

    @Override
    public SSLSession getSession() {
        return session;
    }

    @Override
    public void beginHandshake() {
    }

    @Override
    public void setUseClientMode(boolean mode) {
        client = mode;
    }

    @Override
    public boolean getUseClientMode() {
        return client;
    }

    @Override
    public String[] getSupportedCipherSuites() {
        return new String[0];
    }

    @Override
    public String[] getEnabledCipherSuites() {
        return new String[0];
    }

    @Override
    public void setEnabledCipherSuites(String[] suites) {
    }

    @Override
    public String[] getSupportedProtocols() {
        return new String[0];
    }

    @Override
    public String[] getEnabledProtocols() {
        return new String[0];
    }

    @Override
    public void setEnabledProtocols(String[] protocols) {
    }

    @Override
    public void setNeedClientAuth(boolean need) {
    }

    @Override
    public boolean getNeedClientAuth() {
        return false;
    }

    @Override
    public void setWantClientAuth(boolean want) {
    }

    @Override
    public boolean getWantClientAuth() {
        return false;
    }

    @Override
    public void setEnableSessionCreation(boolean flag) {
    }

    @Override
    public boolean getEnableSessionCreation() {
        return true;
    }
}
