# The platform as an image. It brings no Postgres and no Temporal: name them with DATABASE_URL and TEMPORAL_ADDRESS.
FROM node:20-bookworm-slim AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc prisma.config.ts ./
COPY scripts ./scripts
COPY prisma ./prisma
# Runs `postinstall`, which generates the Prisma client into prisma/generated.
RUN npm ci --omit=dev

FROM node:20-bookworm-slim
ENV NODE_ENV=production ENV=production HOST=0.0.0.0 PORT=8080 DATA_DIR=/data CACHE_DIR=/data/cache MALLOC_ARENA_MAX=2
WORKDIR /app
COPY --from=packages /app/node_modules ./node_modules
COPY . .
COPY --from=packages /app/prisma/generated ./prisma/generated
# The programs as they will run; the user of the container may not write here.
RUN node scripts/run.mjs --compile api/main.ts workers/main.ts
RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.PORT + '/health/ready').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# Node itself is process 1, so that SIGTERM reaches it and it drains.
CMD ["node", "--max-old-space-size=512", "--max-semi-space-size=16", "scripts/run.mjs", "api/main.ts"]
