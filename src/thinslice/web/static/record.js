// The webcam and the microphone, as a file.

const LONGEST_S = 20; // A clip of up to 20 s is scored whole.
const KINDS = ["video/webm;codecs=vp8,opus", "video/webm", "video/mp4"];

/**
 * Record until stop() or the longest time.
 * @param {HTMLVideoElement} screen where the picture is shown meanwhile
 * @param {(seconds: number) => void} tick
 * @returns {Promise<{file: Promise<File|null>, stop: () => void, cancel: () => void}>}
 */
export async function record(screen, tick) {
  if (!navigator.mediaDevices || !window.MediaRecorder) {
    throw new Error("This browser records only on this machine (127.0.0.1) or over https. Choose a file instead.");
  }
  const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 1280, height: 720 }, audio: true });
  const type = KINDS.find((kind) => MediaRecorder.isTypeSupported(kind)) || "";
  const recorder = new MediaRecorder(stream, type ? { mimeType: type } : {});
  const parts = [];
  let wanted = true;
  recorder.ondataavailable = (event) => event.data.size && parts.push(event.data);
  const began = performance.now();
  const timer = setInterval(() => {
    const seconds = (performance.now() - began) / 1000;
    tick(seconds);
    if (seconds >= LONGEST_S) stop();
  }, 200);
  const stop = () => recorder.state !== "inactive" && recorder.stop();
  const file = new Promise((resolve) => {
    recorder.onstop = () => {
      clearInterval(timer);
      stream.getTracks().forEach((track) => track.stop());
      screen.srcObject = null;
      const kind = recorder.mimeType.split(";")[0];
      resolve(wanted ? new File(parts, `recording.${kind.endsWith("mp4") ? "mp4" : "webm"}`, { type: kind }) : null);
    };
  });
  screen.srcObject = stream;
  await screen.play();
  recorder.start();
  return { file, stop, cancel: () => { wanted = false; stop(); } };
}
