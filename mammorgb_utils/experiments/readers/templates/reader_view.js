/* One view on a canvas: window, zoom and place. `shared` holds what both views have in common. */
class View {
  constructor(canvas, height, width, shared) {
    Object.assign(this, { canvas, height, width, shared, zoom: 1, x: 0, y: 0, fingers: new Map() });
    this.grey = document.createElement("canvas");
    this.grey.width = width;
    this.grey.height = height;
    this.listen();
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  show(bytes) {
    this.bytes = bytes;
    this.reset();
  }

  reset() {
    Object.assign(this, { zoom: 1, x: 0, y: 0 });
    this.window();
  }

  /* Greys between the window's ends, both in percent of the range, become black to white. */
  window() {
    if (!this.bytes) return;
    const { centre, width } = this.shared, image = new ImageData(this.width, this.height), table = new Uint8Array(256);
    const low = centre - width / 2;
    for (let i = 0; i < 256; i++) table[i] = Math.max(0, Math.min(255, Math.round(((i / 2.55 - low) / width) * 255)));
    this.bytes.forEach((value, i) => {
      image.data.fill(table[value], 4 * i, 4 * i + 3);
      image.data[4 * i + 3] = 255;
    });
    this.grey.getContext("2d").putImageData(image, 0, 0);
    this.draw();
  }

  draw() {
    const { canvas } = this, ratio = window.devicePixelRatio || 1;
    const across = Math.round(canvas.clientWidth * ratio), down = Math.round(canvas.clientHeight * ratio);
    if (!across || !this.bytes) return;
    if (canvas.width !== across) canvas.width = across;
    if (canvas.height !== down) canvas.height = down;
    const limit = (this.zoom - 1) / 2;
    this.x = Math.max(-limit, Math.min(limit, this.x));
    this.y = Math.max(-limit, Math.min(limit, this.y));
    const scale = Math.min(across / this.width, down / this.height) * this.zoom;
    const context = canvas.getContext("2d");
    context.fillStyle = "black";
    context.fillRect(0, 0, across, down);
    context.imageSmoothingQuality = "high";
    context.setTransform(scale, 0, 0, scale, across * (0.5 + this.x), down * (0.5 + this.y));
    context.drawImage(this.grey, -this.width / 2, -this.height / 2);
    context.setTransform(1, 0, 0, 1, 0, 0);
  }

  /* Zoom by a factor; the spot at (u, v), measured from the centre in sides of the canvas, stays where it is. */
  zoomBy(factor, u = 0, v = 0) {
    const zoom = Math.max(1, Math.min(8, this.zoom * factor)), change = zoom / this.zoom;
    Object.assign(this, { zoom, x: u - (u - this.x) * change, y: v - (v - this.y) * change });
    this.draw();
    this.shared.zoomed(zoom);
  }

  move(u, v) {
    this.x += u;
    this.y += v;
    this.draw();
  }

  spot(event) {
    const box = this.canvas.getBoundingClientRect();
    return { u: (event.clientX - box.left) / box.width - 0.5, v: (event.clientY - box.top) / box.height - 0.5 };
  }

  listen() {
    const { canvas, fingers, shared } = this;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, this.spot(event));
      this.moving = shared.dragMoves || event.shiftKey || event.button > 0;
    });
    canvas.addEventListener("pointermove", (event) => fingers.has(event.pointerId) && this.dragged(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
    }
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("dblclick", (event) => this.zoomBy(2, this.spot(event).u, this.spot(event).v));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY / 500), this.spot(event).u, this.spot(event).v);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
      if (!way) return;
      event.preventDefault();
      this.move(...way);
    });
  }

  dragged(event) {
    const { fingers, shared } = this, old = [...fingers.values()], before = fingers.get(event.pointerId);
    const now = this.spot(event), step = { u: now.u - before.u, v: now.v - before.v };
    fingers.set(event.pointerId, now);
    if (fingers.size === 1) {
      if (this.moving) this.move(step.u, step.v);
      else shared.change(shared.centre + 100 * step.v, shared.width - 100 * step.u);
    } else if (fingers.size === 2) {
      const [a, b] = fingers.values(), apart = (p, q) => Math.hypot(p.u - q.u, p.v - q.v) || 1e-6;
      this.move(step.u / 2, step.v / 2);
      this.zoomBy(apart(a, b) / apart(...old), (a.u + b.u) / 2, (a.v + b.v) / 2);
    }
  }
}
